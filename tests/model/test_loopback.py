"""Addresses that only this machine can reach."""

from __future__ import annotations

import pytest

from roomcast.model.loopback import is_loopback


@pytest.mark.parametrize("text", ["127.0.0.1", "127.8.8.8", "::1", "::1%lo", "::ffff:127.0.0.1", "::ffff:7f00:1"])
def test_no_other_machine_reaches_a_loopback_address(text: str) -> None:
    assert is_loopback(text)


@pytest.mark.parametrize("text", ["10.0.0.1", "::", "::2", "::ffff:10.0.0.1", "::127.0.0.1", "localhost", ""])
def test_other_machines_may_reach_any_other_address(text: str) -> None:
    assert not is_loopback(text)
