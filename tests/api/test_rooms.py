"""The list of rooms: its queries, and its pages."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from roomcast.api.request import Head
from roomcast.api.rooms import parse_query
from roomcast.auth.guard import Guard, Mode
from roomcast.auth.keys import Keys, sha256
from roomcast.auth.rights import ConfiguredRights
from roomcast.delivery.engine import Engine
from roomcast.http.context import Context
from roomcast.http.handler import Handler
from roomcast.model.errors import Invalid
from roomcast.model.message import Draft
from roomcast.model.settings.key import Key
from tests.delivery.fakes import until
from tests.http.clients import answered

KEY = "rck_some_" + "k" * 43


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


async def walked(engine: Engine, query: str, *, read: Sequence[str], pages: int) -> list[list[str]]:
    """The rooms of each page, for a key with these grants, by the links from page to page."""
    guard = Guard(
        Mode.RIGHTS, ConfiguredRights(keys=Keys([Key(name="some", sha256=sha256(KEY), read=tuple(read))]))
    )
    context = Context(Handler(engine, guard), engine)
    target, found = f"/rooms?{query}", []
    while target:
        line = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n\r\n"
        client = await answered(context, line.encode())
        await until(lambda client=client: client.written.endswith((b"0\r\n\r\n", b"}")))  # type: ignore[misc]
        head, _, body = client.written.partition(b"\r\n\r\n")
        found.append(re.findall(r'"room":"(.*?)"', body.decode()))
        link = re.search(rb"<(.*?)>; rel=\"next\"", head)
        target = link[1].decode() if link else ""
    assert len(found) == pages
    return found


async def test_a_client_with_many_grants_gets_all_its_rooms_in_pages_of_so_many_look_ups(engine: Engine) -> None:
    granted = [f"room-{number:03}" for number in range(100)]
    for room in (granted[3], granted[70], granted[99], "secret"):
        await engine.log.append([Draft(room, None, b"{}")])
    pages = await walked(engine, "", read=granted, pages=2)
    assert pages == [[granted[3]], [granted[70], granted[99]]]


async def test_a_room_is_not_listed_for_a_grant_that_is_the_beginning_of_its_name(engine: Engine) -> None:
    for room in ("ab", "abc"):
        await engine.log.append([Draft(room, None, b"{}")])
    assert await walked(engine, "", read=["a", "ab", "abc*"], pages=1) == [["ab", "abc"]]


@pytest.mark.parametrize(
    ("query", "rooms"),
    [
        ("", ["team/b", "team/a"]),
        ("prefix=team/a", ["team/a"]),
        ("prefix=te", ["team/b", "team/a"]),
        ("prefix=x", []),
    ],
)
async def test_the_newest_rooms_are_searched_only_among_readable_ones(
    engine: Engine, query: str, rooms: list[str]
) -> None:
    for room in ("x", "team/a", "team/b", "y"):
        await engine.log.append([Draft(room, None, b"{}")])
    assert await walked(engine, f"sort=newest&{query}", read=["team/*"], pages=1) == [rooms]
