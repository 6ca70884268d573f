"""Queries for the list of rooms, as tables."""

from __future__ import annotations

import pytest

from roomcast.api.request import Head
from roomcast.api.rooms import parse_query
from roomcast.model.errors import Invalid


def head(query: bytes) -> Head:
    return Head.of("GET", b"/rooms?" + query, {})


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        (b"prefix=%00", "/prefix"),
        (b"prefix=%ed%a0%80", "/prefix"),
        (b"after=a%00", "/after"),
        (b"sort=newest&after=a", "/after"),
        (b"sort=oldest", "/sort"),
    ],
)
def test_a_mistake_in_a_query_for_rooms_is_named(query: bytes, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_query(head(query))
    assert [fault.pointer for fault in refused.value.faults] == [pointer]


def test_a_prefix_and_a_name_after_which_a_page_begins_may_be_any_room_names_beginning() -> None:
    assert parse_query(head(b"prefix=gr%C3%BC&after=team/7/&limit=5")) == ("grü", "name", "team/7/", 5)
