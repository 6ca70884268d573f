"""A row of `[[room]]`, by itself."""

from __future__ import annotations

import dataclasses

import pytest

from roomcast.model.retention import RoomRule
from roomcast.model.settings.room import RoomRow


def test_a_row_is_the_rule_that_the_log_takes() -> None:
    assert RoomRow(match="a*", max_messages=3, max_age=9.5).rule() == RoomRule("a*", 3, None, 9.5)
    assert [field.name for field in dataclasses.fields(RoomRow)] == list(RoomRule._fields)


def test_a_row_without_a_cap_is_refused() -> None:
    with pytest.raises(ValueError, match="has no cap: give it max_messages or max_bytes or max_age"):
        RoomRow(match="a")
