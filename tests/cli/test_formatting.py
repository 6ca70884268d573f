"""The texts for a person, without a server."""

from __future__ import annotations

import pytest

from roomcast.cli import formatting
from roomcast.client import Gap
from roomcast.model.shapes import GAP_REASONS


def told(reason: str) -> str:
    return formatting.gap(Gap("k3v9qa-9", None, ("a",), None, reason))


@pytest.mark.parametrize("reason", GAP_REASONS)
def test_a_gap_gives_its_reason_in_words(reason: str) -> None:
    assert not told(reason).endswith(f": {reason}") or reason == "deleted"


def test_an_id_that_is_newer_than_the_log_is_not_called_a_loss_of_the_log() -> None:
    """It may come from a copy of the log, or be made up."""
    assert told("future").endswith(" of a after k3v9qa-9 may be lost: the log ends before this id")
