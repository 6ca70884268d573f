"""The short form of `make stress`."""

from __future__ import annotations

import os
from pathlib import Path

from tests.hardening.stress import stress

SLOW = 3.0
"""Seconds that a publish may take here, since the processors also run other tests. `make stress` allows 0.1."""
SECONDS = float(os.environ.get("ROOMCAST_TEST_STRESS_SECONDS", "6"))


def test_a_server_in_256_mb_serves_5000_followers_through_all_attacks_and_is_as_it_was(tmp_path: Path) -> None:
    found = stress(tmp_path, SECONDS)
    found.judge(SLOW)
    assert found.wrong == []
