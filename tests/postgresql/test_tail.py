"""The tail's decisions: other histories, cuts that are gone, and reads in parts. No database."""

from __future__ import annotations

import asyncio

import pytest

from roomcast import tasks
from roomcast.log.outage import HISTORY_CHANGED, HistoryChanged
from roomcast.log.postgresql import tail as postgresql_tail
from roomcast.log.postgresql.opening import Anchor
from roomcast.log.postgresql.queries import Totals
from roomcast.log.postgresql.tail import PostgresTail
from roomcast.model.errors import LogRestarted, LogUnavailable
from roomcast.model.message import Message
from tests.log.steps import next_batch, seqs, take, until
from tests.postgresql.fakes import LOG, NEWS, FakeSession, news, tail_on


async def begun(session: FakeSession) -> PostgresTail:
    tail = tail_on(session)
    await tail.begin()
    return tail


async def test_a_log_that_is_longer_than_one_read_is_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_tail, "FETCH_MESSAGES", 2)
    end = {"newest": 3, "stored": 3}
    tail = await begun(FakeSession(load_news=[[news(1, 2, **end)], [news(3)]]))
    consumer = tail._consumers.open("test", 0)
    await tail.catch_up()
    assert seqs(await take(consumer, 3)) == [1, 2, 3]
    assert tail.anchor == Anchor(3, 7)


async def test_consumers_restart_if_cuts_are_dropped_before_they_are_read() -> None:
    cut = {"room": "a", "upto": 1, "gone": 1}
    tail = await begun(FakeSession(load_news=[[{**NEWS, "changes": 2}]], load_cuts=[[cut]]))
    consumer = tail._consumers.open("test", 0)
    await tail.catch_up()
    with pytest.raises(LogRestarted):
        await next_batch(consumer)


async def test_a_defect_is_logged_and_reported_and_the_tail_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    session = FakeSession(identify=[LookupError("a defect")])
    tail = tail_on(session)
    running = asyncio.create_task(tail.run())

    async def tried_twice() -> bool:
        return session.calls["identify"] > 1

    await until(tried_twice)
    assert tail.outage.why == "Following the log failed: see the server's log."
    assert "LookupError: a defect" in caplog.text
    await tasks.cancel([running])


@pytest.mark.parametrize(
    "row",
    [
        {"nonce": 8},
        {"here": "2"},
    ],
    ids=["another append under the newest seq", "another life"],
)
async def test_a_database_with_another_history_is_not_joined_to_what_was_delivered(row: dict[str, object]) -> None:
    tail = await begun(FakeSession(load_news=[[{**NEWS, **row}]]))
    with pytest.raises(HistoryChanged):
        await tail.catch_up()


async def test_a_row_of_another_epoch_ends_reading_until_the_log_is_opened_again() -> None:
    tail = await begun(FakeSession(load_news=[[{**NEWS, "epoch": "other"}]]))
    for _ in range(2):
        with pytest.raises(LogUnavailable, match=HISTORY_CHANGED):
            await tail.catch_up()
    with pytest.raises(LogUnavailable, match=HISTORY_CHANGED):
        tail.check()
    await tail.begin()
    tail.check()


async def test_totals_of_an_older_read_do_not_replace_newer_ones() -> None:
    tail = await begun(FakeSession(load_log=[[{**LOG, "trimmed": 4, "changes": 2}]]))
    newest = tail.totals
    for older in (Totals(3, 0, 0, 2), Totals(4, 0, 0, 1)):
        tail.note_append([], 1, older)
        assert tail.totals == newest
    tail.note_append([], 1, Totals(4, 9, 9, 2))
    assert tail.totals == Totals(4, 9, 9, 2)


async def test_the_others_are_told_of_a_new_epoch_and_nothing_of_the_old_one_is_awaited() -> None:
    session = FakeSession(load_news=[[{**NEWS, "stored": 9}]])
    tail = await begun(session)
    await tail.catch_up()
    assert tail._unsynced[0] == Anchor(9, 7)
    await tail.begin()
    assert (tail._unsynced[0], session.calls["tell_others"]) == (Anchor(9, 7), 1)
    session.answers["begin_life"] = [[{"epoch": "new", "begun": True, "timed": 0}]]
    await tail.begin()
    assert (tail._unsynced[0], session.calls["tell_others"]) == (Anchor(), 2)


async def test_an_append_does_not_take_back_how_far_the_log_is_trimmed() -> None:
    tail = await begun(FakeSession())
    tail._consumers.push((), 5)
    tail.note_append([Message(1, "a", None, 1, 0, b"{}")], 7, Totals(trimmed=4))
    assert tail._consumers.trimmed == 5
