"""The short form of `make stress`."""

from __future__ import annotations

import os
from pathlib import Path

from roomcast.torture.rude import BOUND
from tests.hardening.stress import stress

SECONDS = float(os.environ.get("ROOMCAST_TEST_STRESS_SECONDS", "6"))


def test_a_server_in_256_mb_serves_5000_followers_through_all_attacks_and_is_as_it_was(tmp_path: Path) -> None:
    """On a machine that runs other tests beside it, a publish may take a second; `make stress` has 100 ms."""
    found = stress(tmp_path, SECONDS)
    found.judge(BOUND)
    assert found.wrong == []
