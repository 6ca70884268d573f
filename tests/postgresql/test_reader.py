"""How the reader counts what a room has lost, from the appends that the log still lists. No database."""

from __future__ import annotations

from typing import Any

from roomcast.log.postgresql.reader import PostgresReader
from tests.log.steps import rooms
from tests.postgresql.fakes import FakeSession, tail_on

PAGE: dict[str, Any] = {
    **dict.fromkeys(["seqs", "deleted_rooms", "deleted_seqs", "deletion_numbers"]),
    "epoch": "e",
    "newest": 6,
    "deletions": 0,
    "forgotten": 0,
    "forgotten_at": 0,
    "cut": False,
    "lost_rooms": ["a"],
    "lost_ends": [4],
    "lost_ats": [1],
    "lost_counts": [4],
    "lost_caps": [4],
    "oldest": 5,
}
"""A page without messages, of the room `a`, which was trimmed up to 4."""
FIRST = {"first": 1, "last": 2, "rooms": ["a", "a"]}
SECOND = {"first": 3, "last": 4, "rooms": ["b", "a"]}


async def passed(session: FakeSession, after: int) -> list[int]:
    """How many lost messages of each loss lie at or before `after`."""
    tail = tail_on(session)
    tail.epoch = "e"
    page = await PostgresReader(session, tail, 100).page(rooms("a"), after, 10, None)
    return [loss.passed for loss in page.losses]


def session(*appends: dict[str, Any], **page: object) -> FakeSession:
    return FakeSession(
        page=[[{**PAGE, **page}]],
        begin_register=[[{"epoch": "e", "since": 0}]],
        load_register=[*([append] for append in appends), []],
    )


async def test_the_listed_appends_tell_how_many_messages_a_reader_had() -> None:
    assert await passed(session(FIRST, SECOND), 1) == [2]
    assert await passed(session(FIRST, SECOND), 0) == [1]


async def test_appends_that_are_no_longer_listed_count_as_messages_of_the_room() -> None:
    assert await passed(session(SECOND), 1) == [4 - 2]
    assert await passed(session(), 1) == [4 - 3]


async def test_an_append_that_another_page_has_added_counts_once() -> None:
    assert await passed(session(FIRST, FIRST, SECOND), 0) == [1]


async def test_a_selection_that_lost_nothing_after_a_position_reads_no_appends() -> None:
    fake = session(FIRST)
    assert await passed(fake, 4) == []
    assert fake.calls["load_register"] == 0


async def test_a_room_that_was_forgotten_counts_as_wholly_lost() -> None:
    forgotten = {
        "forgotten": 3,
        **dict.fromkeys(["lost_rooms", "lost_ends", "lost_ats", "lost_counts", "lost_caps"]),
    }
    assert await passed(session(**forgotten), 1) == [0]


async def test_the_appends_of_a_new_epoch_are_listed_anew() -> None:
    fake = session(FIRST, SECOND)
    tail = tail_on(fake)
    reader = PostgresReader(fake, tail, 100)
    for tail.epoch in ("e", "new"):
        fake.answers["page"] = [[{**PAGE, "epoch": tail.epoch}]]
        fake.answers["begin_register"] = [[{"epoch": tail.epoch, "since": 0}]]
        await reader.page(rooms("a"), 1, 10, None)
    assert fake.calls["begin_register"] == 2
