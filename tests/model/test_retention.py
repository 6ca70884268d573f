"""The rule that applies to a room, and the lowest age."""

from __future__ import annotations

import pytest

from roomcast.model import retention
from roomcast.model.retention import NO_CAP, Retention, RoomRule, RoomRules


@pytest.mark.parametrize(
    ("match", "room", "matches"),
    [
        ("a", "a", True),
        ("a", "ab", False),
        ("a*", "a", True),
        ("a*", "ab", True),
        ("a*", "b", False),
        ("*", "anything", True),
        ("team/7/*", "team/77/x", False),
    ],
)
def test_a_rule_matches_a_name_or_a_prefix(match: str, room: str, matches: bool) -> None:
    assert RoomRule(match, 1).matches(room) is matches


def test_the_first_rule_that_matches_holds() -> None:
    one, all_of_a = RoomRule("ab", 1), RoomRule("a*", 2)
    rules = RoomRules((one, all_of_a))
    assert [rules.of(room) for room in ("ab", "ac", "b", "ab")] == [one, all_of_a, None, one]
    assert RoomRules((all_of_a, one)).of("ab") == all_of_a
    assert not RoomRules(())


def test_the_cache_of_rooms_rules_is_bounded_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_FOUND_ROOMS", 3)
    rule = RoomRule("a*", 1)
    rules = RoomRules((rule,))
    for name in [f"{letter}{n}" for n in range(10) for letter in "ab"]:
        assert rules.of(name) == (rule if name[0] == "a" else None)
        assert len(rules._found) <= 3


def test_the_lowest_caps_are_of_any_rule() -> None:
    rules = RoomRules((RoomRule("a", 5, 100), RoomRule("b", 2), RoomRule("c", None, 70), RoomRule("d", max_age=1)))
    assert (rules.least_messages, rules.least_bytes) == (2, 70)
    assert RoomRules((RoomRule("d", max_age=1),)).least_messages == NO_CAP


@pytest.mark.parametrize(
    ("kept", "ages", "least"),
    [
        (Retention(), False, float("inf")),
        (Retention(max_age=9), True, 9),
        (Retention(rooms=(RoomRule("a", 1),)), False, float("inf")),
        (Retention(max_age=9, rooms=(RoomRule("a", max_age=3), RoomRule("b", max_age=5))), True, 3),
    ],
)
def test_the_least_age_is_that_of_the_log_and_its_rules(kept: Retention, ages: bool, least: float) -> None:
    assert (kept.ages, kept.least_age) == (ages, least)
