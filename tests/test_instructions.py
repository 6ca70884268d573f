"""No step of the hot path may need many more instructions than stored. Many fewer fail as well: otherwise the gain
could be lost again unnoticed.

On a shared machine, times are useless; instruction counts are exact to a fraction of a percent. They depend on the
interpreter as much as on our code, so they are stored for each minor version of Python.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks import instructions
from tests.conftest import require

TOLERANCE = 0.10
"""The least difference that fails. From run to run a count differs by 0.3 % at most."""
OTHER_BUILD = 0.25
"""Debian's Python 3.11.2 (profile-guided, link-time optimised) needs up to 17 % less than pyenv's plain 3.11.7."""
SECONDS = 500
"""The most seconds for counting. It takes 55 s, and several times as long beside other tests."""


@pytest.mark.timeout(SECONDS + 20)
def test_no_operation_needs_more_instructions_than_stored() -> None:
    stored, valgrind = _stored(), require("valgrind")
    tolerance = TOLERANCE if stored["build"] == instructions.build() else OTHER_BUILD
    try:
        counts = instructions.count(valgrind, timeout=SECONDS)
    except subprocess.CalledProcessError as error:
        pytest.fail(f"the operations could not be counted:\n{error.stderr}")
    if report := _differences(stored["counts"], counts, tolerance):
        pytest.fail(_explained(report, stored, tolerance), pytrace=False)


def test_a_count_is_compared_with_what_is_stored() -> None:
    old = {"same": 100, "more": 100, "less": 100, "gone": 100}
    new = {"same": 109, "more": 111, "less": 89, "fresh": 100}
    assert [line.split() for line in _differences(old, new, 0.1)] == [
        ["100", "->", "111", "+11.0%", "more"],
        ["100", "->", "89", "-11.0%", "less"],
        ["100", "->", "-", "gone", "gone"],
        ["-", "->", "100", "new", "fresh"],
    ]


def _stored() -> Mapping[str, Any]:
    """The counts stored for this minor version of Python. Without them the test is skipped; in CI it fails."""
    known, here = instructions.stored(), instructions.interpreter()
    if here not in known:
        reason = f"no counts for {here} are stored, only for {', '.join(known)}; {instructions.COMMAND} adds them"
        if os.environ.get("CI") and here.startswith("CPython 3.11 "):
            pytest.fail(reason)
        pytest.skip(reason)
    found: Mapping[str, Any] = known[here]
    return found


def _differences(old: Mapping[str, int], new: Mapping[str, int], tolerance: float) -> list[str]:
    names = [*old, *(name for name in new if name not in old)]
    lines = ((name, old.get(name), new.get(name)) for name in names)
    return [_line(*line) for line in lines if not _near(*line[1:], tolerance)]


def _near(old: int | None, new: int | None, tolerance: float) -> bool:
    return old is not None and new is not None and abs(new / old - 1) <= tolerance


def _line(name: str, old: int | None, new: int | None) -> str:
    change = instructions.change(old, new)
    return f"{_number(old):>11} -> {_number(new):>11}  {change:>8}  {name}"


def _number(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _explained(report: list[str], stored: Mapping[str, Any], tolerance: float) -> str:
    before = {**stored["build"], **stored["packages"]}
    here = {**instructions.build(), **instructions.packages()}
    others = [f"{what} {before.get(what)} -> {now}" for what, now in here.items() if now != before.get(what)]
    return "\n".join(
        [
            f"instructions per operation, stored -> now, where they differ by more than {tolerance:.0%}:",
            *report,
            f"what is installed: {', '.join(others) or 'the same'}",
            f"Mend it; or where the new count is meant to be, store it: {instructions.COMMAND}",
        ]
    )
