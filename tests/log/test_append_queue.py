"""The appends that wait for the writer of a log."""

from __future__ import annotations

import pytest

from roomcast.log import append_queue
from roomcast.log.append_queue import AppendQueue, AppendRequest, PendingAppend
from roomcast.log.base import Appended
from roomcast.model.errors import LogUnavailable
from tests.log.steps import draft


def append(size: int = 2, messages: int = 1) -> PendingAppend:
    return PendingAppend.for_request(AppendRequest([draft(body=b"x" * size)] * messages, None))


async def test_an_append_that_is_cancelled_before_it_is_written_is_in_no_group() -> None:
    queue, appends = AppendQueue("behind"), [append() for _ in range(3)]
    for one in appends:
        queue.add(one)
    appends[1].answer.cancel()
    assert queue.take_group() == [appends[0], appends[2]]
    assert len(queue) == 0


async def test_an_append_that_is_cancelled_while_it_is_written_takes_no_answer() -> None:
    pending = append()
    pending.answer.cancel()
    pending.resolve(Appended([], False))
    assert pending.answer.cancelled()


async def test_a_group_that_is_full_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_queue, "GROUP_MESSAGES", 4)
    monkeypatch.setattr(append_queue, "GROUP_BYTES", 10)
    queue, appends = AppendQueue("behind"), [append(1, 3), append(1, 3), append(9), append(1), append(1)]
    for one in appends:
        queue.add(one)
    assert [queue.take_group() for _ in range(3)] == [appends[:2], appends[2:4], appends[4:]]


async def test_overdue_appends_leave_the_queue_and_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_queue, "PENDING_BYTES", 30)
    queue, appends = AppendQueue("The log is behind."), [append(10)._replace(since=since) for since in (1, 2, 3)]
    for one in appends:
        queue.add(one)
    with pytest.raises(LogUnavailable, match=r"The log is behind\."):
        queue.add(append(1))
    assert queue.overdue(3) == appends[:2]
    assert queue.overdue(3) == []
    queue.add(append(20))
    assert len(queue) == 2


async def test_a_group_that_is_taken_makes_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append_queue, "PENDING_BYTES", 30)
    queue = AppendQueue("behind")
    for _ in range(3):
        for size in (10, 20):
            queue.add(append(size))
        with pytest.raises(LogUnavailable):
            queue.add(append(1))
        assert len(queue.take_group()) == 2
