"""Grants: a union of rooms and prefixes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.auth.grants import EVERYTHING, NOTHING, Grants

NAMES = st.text("ab/*{", min_size=1, max_size=5)


@given(st.lists(NAMES, max_size=4), NAMES)
def test_a_room_is_granted_by_its_name_or_by_a_prefix_of_it(texts: list[str], room: str) -> None:
    expected = any(room.startswith(t[:-1]) if t.endswith("*") else room == t for t in texts)
    assert (room in Grants.parse(texts)) is expected
    assert Grants.parse(texts).lacking([room, room]) == ([] if expected else [room, room])


@given(st.lists(NAMES, max_size=4), NAMES, NAMES)
def test_a_prefix_is_covered_only_where_every_room_under_it_is_granted(
    texts: list[str], prefix: str, rest: str
) -> None:
    grants = Grants.parse(texts)
    if grants.covers_prefix(prefix):
        assert prefix + rest in grants


@given(st.lists(NAMES, max_size=4))
def test_grants_are_read_as_they_are_written(texts: list[str]) -> None:
    assert Grants.parse(texts).texts() == sorted(set(texts))
    assert Grants.parse(Grants.parse(texts).texts()).texts() == Grants.parse(texts).texts()


@given(st.lists(NAMES, max_size=4), st.lists(NAMES, max_size=4), NAMES)
def test_another_grant_never_takes_a_right_away(some: list[str], more: list[str], room: str) -> None:
    assert room not in Grants.parse(some) or room in Grants.parse(some + more)


def test_everything_covers_all_rooms_and_nothing_covers_none() -> None:
    assert "a" in EVERYTHING
    assert EVERYTHING.covers_prefix("")
    assert EVERYTHING.texts() == ["*"]
    assert "a" not in NOTHING
    assert not NOTHING
    assert not NOTHING.covers_prefix("a")


@pytest.mark.parametrize("text", ["", "a\nb", "$x", "$*", "a" * 129, "a\x7f*"])
def test_an_invalid_room_name_is_not_a_grant(text: str) -> None:
    with pytest.raises(ValueError, match="must be a room, or a prefix that ends in"):
        Grants.parse(["fine", text])


@given(st.lists(NAMES, max_size=4), NAMES)
def test_a_prefix_is_covered_by_every_shorter_one(texts: list[str], prefix: str) -> None:
    expected = any(text.endswith("*") and prefix.startswith(text[:-1]) for text in texts)
    assert Grants.parse(texts).covers_prefix(prefix) is expected


@given(st.lists(NAMES, max_size=6))
def test_ranges_are_in_order_and_cover_each_room_once(texts: list[str]) -> None:
    ranges = Grants.parse(texts).ranges()
    assert ranges == sorted(ranges)
    for name, _ in ranges:
        assert [
            other for other, is_prefix in ranges if name == other or (is_prefix and name.startswith(other))
        ] == [name]
    assert Grants([n for n, p in ranges if not p], [n for n, p in ranges if p]).texts() == sorted(
        {name + "*" * is_prefix for name, is_prefix in ranges}
    )
    for text in texts:
        name = text.removesuffix("*")
        assert any(name == other or (is_prefix and name.startswith(other)) for other, is_prefix in ranges)


@pytest.mark.parametrize(
    ("texts", "shared"),
    [
        (["user/42", "user/43"], "user/4"),
        (["user/42", "user/4*"], "user/4"),
        (["a", "b"], ""),
        (["abc"], "abc"),
        (["ab*", "abc", "abd"], "ab"),
        (["*", "abc"], ""),
        ([], ""),
    ],
)
def test_the_common_prefix_of_all_rooms_is_the_longest(texts: list[str], shared: str) -> None:
    assert Grants.parse(texts).common_prefix() == shared
