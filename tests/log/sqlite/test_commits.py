"""How appends become commits, what a commit costs, and how the log closes."""

# ruff: noqa: ASYNC240 -- the tests themselves may touch a file on the loop

from __future__ import annotations

import asyncio
import gc
import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import apsw
import pytest

from roomcast.log import append_queue, consumers
from roomcast.log.append_queue import AppendRequest
from roomcast.log.sqlite import file_guard, group_commit, write_cache
from roomcast.log.sqlite.committed import Committed
from roomcast.log.sqlite.log import SqliteLog
from roomcast.log.sqlite.queries import QUERIES
from roomcast.model.errors import LogUnavailable
from roomcast.model.retention import Retention, RoomRule
from tests.log.sqlite.conftest import Reopen
from tests.log.steps import PATIENCE, draft, publish, rooms, seqs, take, told, until


@pytest.fixture
def groups(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of appends of each commit."""
    sizes: list[int] = []
    commit = log._writer.commit

    def counting(requests: Sequence[AppendRequest], floor: int | None) -> Committed:
        sizes.append(len(requests))
        return commit(requests, floor)

    monkeypatch.setattr(log._writer, "commit", counting)
    return sizes


async def test_appends_of_one_turn_are_one_transaction(log: SqliteLog, groups: list[int]) -> None:
    await asyncio.gather(*(log.append([draft()]) for _ in range(200)))
    assert groups == [200]


async def test_an_append_cancelled_before_its_group_is_written_stores_nothing(log: SqliteLog) -> None:
    appends = [log.append([draft()]) for _ in range(10)]
    appends[3].cancel()
    await asyncio.gather(*appends, return_exceptions=True)
    assert (await log.bounds()).newest == 9


async def test_appends_gather_while_others_are_committed(log: SqliteLog, groups: list[int]) -> None:
    first = log.append([draft()])

    async def begun() -> bool:
        return bool(groups)

    await until(begun)
    await asyncio.gather(first, *(log.append([draft()]) for _ in range(50)))
    assert groups == [1, 50]


async def test_appends_before_the_end_are_stored(
    log: SqliteLog, reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One append is being committed, and another one waits for it."""
    released, begun = threading.Event(), threading.Event()
    step = log._writer._step

    def holding(*arguments: Any) -> None:
        begun.set()
        assert released.wait(PATIENCE)
        step(*arguments)

    monkeypatch.setattr(log._writer, "_step", holding)
    first = log.append([draft()])
    await asyncio.to_thread(begun.wait, PATIENCE)
    second = log.append([draft()])
    closing = asyncio.create_task(log.close())
    for _ in range(2):  # without waiting, closing would have reached the writer by then
        await log._call(str)
    released.set()
    await closing
    assert [seqs((await append).messages) for append in (first, second)] == [[1], [2]]
    assert (await (await reopen()).bounds()).newest == 2


async def test_a_publisher_faster_than_the_disk_is_told_that_the_log_is_behind(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_queue, "PENDING_APPENDS", 3)
    answers = await asyncio.gather(*(log.append([draft()]) for _ in range(5)), return_exceptions=True)
    assert [isinstance(answer, LogUnavailable) for answer in answers] == [False, False, False, True, True]
    monkeypatch.setattr(append_queue, "PENDING_BYTES", 10)
    with pytest.raises(LogUnavailable, match="behind"):
        await log.append([draft(body=b"x" * 11)])


async def test_a_crowd_is_committed_in_groups(
    log: SqliteLog, groups: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_queue, "GROUP_MESSAGES", 10)
    answers = await asyncio.gather(*(log.append([draft()]) for _ in range(45)))
    assert seqs([answer.messages[0] for answer in answers]) == list(range(1, 46))
    assert groups == [10, 10, 10, 10, 5]


async def test_a_group_that_has_enough_bytes_takes_no_more_appends(
    log: SqliteLog, groups: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_queue, "GROUP_BYTES", 10)
    await asyncio.gather(*(log.append([draft(body=b"x" * size)]) for size in (4, 6, 9, 1, 10, 1)))
    assert groups == [2, 2, 1, 1]


async def test_a_consumer_far_behind_reads_the_commits_that_are_no_longer_held(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "RECENT_BYTES", 100)
    tail = log.consumer("test", 0)
    for _ in range(50):
        await log.append([draft(), draft("b")])
    assert seqs(await take(tail, 100)) == list(range(1, 101))


async def test_a_consumer_continues_after_the_log_was_away(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await publish(log, "a", "b")
    tail = log.consumer("test", 0)
    with monkeypatch.context() as outage:
        outage.setitem(QUERIES, "page_of_all", "SELECT nothing")
        with pytest.raises(LogUnavailable):
            await anext(tail)
    assert seqs(await take(tail, 2)) == [1, 2]


async def test_a_commit_that_trims_is_one_statement(reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each statement gives up the interpreter's lock, and gets it back late beside a busy loop. The check of the
    files every 0.1 s is another statement; here it is not due again."""
    monkeypatch.setattr(file_guard, "CHECK_SECONDS", 3_600)
    log = await reopen(max_messages=50)
    tail = log.consumer("test", 0)
    for _ in range(60):  # from 51 on it trims, and has cached the messages to trim next
        await publish(log, "a")
        await anext(tail)
    statements: list[str] = []

    def note(cursor: object, sql: str, bindings: object) -> bool:
        statements.append(sql)
        return True

    log._writer._database.connection.exec_trace = note
    await publish(log, *"aaaa")
    assert len(statements) >= 4  # a step of trimming may be among them
    assert set(statements) == {QUERIES["plain"]}


async def test_the_cache_of_rooms_is_bounded_and_right(reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_cache, "ROOMS", 3)
    log = await reopen()
    for _ in range(3):
        await publish(log, *"abcdefgh")
    page = await log.read(rooms("a", "h"), 8, 10)
    assert [(message.room, message.prev) for message in page.messages] == [
        *(("a", 1), ("h", 8), ("a", 9), ("h", 16)),
    ]
    assert len(log._writer._cache._newest) <= 3


async def test_deleted_rooms_are_forgotten_like_those_that_were_trimmed(reopen: Reopen) -> None:
    log = await reopen(empty_rooms=2)
    for number in range(12):
        await publish(log, f"room {number}")
        await log.delete_room(f"room {number}")
    await publish(log, "a")
    remembered = "SELECT count(*) FROM rooms"
    assert (await log._call(lambda: log._reader._connection.execute(remembered).get)) <= 2 + 1 + 1


async def test_the_losses_of_a_room_are_exact_as_soon_as_it_is_deleted(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its messages are in the register by then, before any step removes their rows."""
    monkeypatch.setattr(group_commit, "TRIM_PAUSE", 3_600)
    await publish(log, *"abbbab")
    await log.delete_room("a")
    assert told(await log.read(rooms("a"), 1, 10), 1) == {"a": 1}


@pytest.mark.parametrize(("step", "count"), [("make_step", 7), ("make_cutting", 14), ("make_plain_cutting", 8)])
async def test_no_step_of_the_writer_walks_all_messages(log: SqliteLog, step: str, count: int) -> None:
    [program] = re.findall("BEGIN(.*)END", QUERIES[step], re.DOTALL)
    statements = [s for s in re.sub(r"NEW\.\w+", "7", program).split(";") if s.strip()]
    assert len(statements) == count
    for statement in statements:
        explain = f"EXPLAIN QUERY PLAN {statement}"
        plan = await asyncio.to_thread(lambda: list(log._writer._database.connection.execute(explain)))  # noqa: B023
        assert not any("SCAN messages" in row[3] for row in plan), statement


async def test_both_threads_end_with_the_log(log: SqliteLog) -> None:
    await log.bounds()
    await log.close()

    async def ended() -> bool:
        return not any(thread.name.startswith("roomcast-log") for thread in threading.enumerate())

    await until(ended)


async def test_the_write_ahead_log_is_emptied_at_the_end(log: SqliteLog, path: Path) -> None:
    await publish(log, "a")
    await log.close()
    assert not Path(f"{path}-wal").exists() or Path(f"{path}-wal").stat().st_size == 0


async def test_a_room_is_cut_to_its_rule_after_a_step_that_failed(
    log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures, run = [1], log._writer._database.run

    def failing(name: str, parameters: dict[str, Any]) -> None:
        if name == "plain_cutting" and failures:
            failures.pop()
            raise apsw.FullError("no space")
        run(name, parameters)

    monkeypatch.setattr(log._writer._database, "run", failing)
    log.prepare_rules(Retention(rooms=(RoomRule("a", max_messages=2),)))()
    await publish(log, *"aaaaa")

    async def failed() -> bool:
        return not failures

    await until(failed)
    await publish(log, "b")

    async def cut() -> bool:
        return len((await log.read(rooms("a"), 0, 10)).messages) == 2

    await until(cut)


async def test_rules_that_come_after_the_end_of_the_log_leave_no_error_behind(log: SqliteLog) -> None:
    found: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context["message"]))
    await log.close()
    log.prepare_rules(Retention(max_age=60.0))()
    await asyncio.sleep(0)  # the turn of the loop in which the job's failure is taken
    gc.collect()
    assert found == []
