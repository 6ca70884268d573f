"""The log over a socket: everything beside the contract, which `test_contract` tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from roomcast.log import consumers as feeding
from roomcast.log.base import Appended, Batch, Bounds, Page
from roomcast.log.clock import now_ms
from roomcast.log.remote import appends, calls
from roomcast.log.remote import log as remote
from roomcast.log.remote.frames import (
    NextBatch,
    PeerReply,
    Splitter,
    framed,
)
from roomcast.log.remote.link import Link
from roomcast.log.remote.log import RemoteLog
from roomcast.log.sqlite import log as sqlite
from roomcast.model.errors import LogRestarted, LogUnavailable, OutcomeUnknown
from roomcast.model.retention import Retention
from roomcast.model.revocation import KEPT_MS, Revocation
from roomcast.model.rooms import Selection
from tests.log.remote_workers import Workers
from tests.log.steps import PATIENCE, draft, key, next_batch, publish, rooms, seqs, take, until


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    log = await sqlite.open_log("sqlite:", str(tmp_path / "a.db"), retention=Retention(100, 10**6))
    workers = Workers(log)
    yield workers
    for link in workers.links:
        link.close()
    workers.server.close()
    await log.close()


# Frames


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 1_000])
def test_frames_are_split_however_their_bytes_arrive(size: int) -> None:
    sent = [PeerReply(n, Raw(msgspec.msgpack.encode("x" * n * 5))) for n in range(8)]
    data = b"".join(map(framed, sent))
    splitter = Splitter()
    found = [one for at in range(0, len(data), size) for one in list(splitter.feed(data[at : at + size]))]
    assert [b"".join([len(one).to_bytes(4, "big"), one]) for one in found] == list(map(framed, sent))


# Several workers


async def test_appends_of_several_workers_are_one_transaction(workers: Workers) -> None:
    one, two = await workers.start(), await workers.start()
    commits = workers.log.consumer("commits", 0)
    await asyncio.gather(*(worker.append([draft()]) for worker in (one, two) for _ in range(10)))
    batch = await next_batch(commits)
    assert seqs(batch.messages) == list(range(1, 21))


async def test_a_key_is_one_for_all_workers(workers: Workers) -> None:
    all_workers = [await workers.start() for _ in range(3)]
    answers = await asyncio.gather(*(worker.append([draft()], key("k")) for worker in all_workers))
    assert sorted(answer.repeated for answer in answers) == [False, True, True]
    assert {tuple(seqs(answer.messages)) for answer in answers} == {(1,)}


async def test_a_worker_that_takes_nothing_delays_no_other(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeding, "_CHECK_SECONDS", 0.01)
    monkeypatch.setattr(feeding, "STILL_SECONDS", 0.05)
    monkeypatch.setattr(feeding, "RECENT_BYTES", 1)
    slow, fast = await workers.start(), await workers.start()
    standing, moving = slow.consumer("delivery", 0), fast.consumer("delivery", 0)
    await publish(fast, "a", body=b"x" * 1_000)
    first = await next_batch(standing)
    taking = asyncio.ensure_future(take(moving, 200))
    for _ in range(199):
        await publish(fast, "a", body=b"x" * 1_000)
    assert seqs(await taking) == list(range(1, 201))
    reading = asyncio.ensure_future(next_batch(moving))

    async def trimmed() -> bool:
        return (await workers.log.bounds()).trimmed == 100

    await until(trimmed)
    reading.cancel()
    then = await next_batch(standing)
    assert (seqs(first.messages), then.messages[0].seq, then.missed) == ([1], 101, 99)


async def test_a_batch_of_many_megabytes_arrives(workers: Workers) -> None:
    one, two = await workers.start(), await workers.start()
    large = await one.append([draft(body=b"x" * 60_000)] * 15)
    assert list((await next_batch(two.consumer("delivery", 0))).messages) == list(large.messages)


async def test_workers_learn_that_the_log_cannot_be_written(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await workers.start(), await workers.start()
    monkeypatch.setattr(type(workers.log), "unwritable", "The disk is full.")
    await one.append([draft()])

    async def told() -> bool:
        return two.unwritable == one.unwritable == "The disk is full."

    await until(told)


async def test_workers_learn_that_the_log_cannot_be_written_although_nothing_is_published(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await workers.start(), await workers.start()
    for why in ("The disk is full.", ""):
        monkeypatch.setattr(type(workers.log), "unwritable", why)

        async def told(why: str = why) -> bool:
            return two.unwritable == one.unwritable == why

        await until(told)


async def test_a_revocation_is_known_to_its_worker_when_it_returns_and_to_the_others_soon(
    workers: Workers,
) -> None:
    one, two = await workers.start(), await workers.start()
    revocation = Revocation("42", None, now_ms())
    await one.revoke(revocation)
    assert list(await one.revocations()) == [revocation]

    async def told() -> bool:
        return list(await two.revocations()) == [revocation]

    await until(told)


async def test_workers_learn_new_rules(workers: Workers) -> None:
    one, two = await workers.start(), await workers.start()
    one.prepare_rules(Retention(max_age=60.0))()

    async def told() -> bool:
        return two.retention.max_age == one.retention.max_age == 60.0

    await until(told)


# The end of the log process


async def test_requests_under_way_when_the_log_process_ends_are_refused_with_a_reason(workers: Workers) -> None:
    worker = await workers.start()
    tail = worker.consumer("delivery", 0)
    waiting = asyncio.ensure_future(next_batch(tail))
    await publish(worker, "a")
    await waiting
    asking = asyncio.ensure_future(next_batch(tail))
    await asyncio.sleep(0)
    workers.server.close()
    with pytest.raises(LogUnavailable, match="is away"):
        await asking
    with pytest.raises(LogUnavailable, match="is away"):
        await worker.append([draft()])
    with pytest.raises(LogUnavailable, match="is away"):
        await worker.bounds()
    with pytest.raises(LogUnavailable, match="is away"):
        await next_batch(worker.consumer("delivery", 1))


async def test_an_append_that_may_be_stored_says_so(workers: Workers) -> None:
    worker = await workers.start()
    appending = worker.append([draft()])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for link in workers.links:
        link.connection_lost(None)
    with pytest.raises(OutcomeUnknown, match="may be stored"):
        await appending


async def test_a_call_under_way_when_the_log_process_ends_fails_at_once(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "_CALL_SECONDS", 1_000)
    called, cancelled = asyncio.Event(), asyncio.Event()

    async def stuck() -> Bounds:
        called.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    worker = await workers.start()
    monkeypatch.setattr(workers.log, "bounds", stuck)
    calling = asyncio.ensure_future(worker.bounds())
    async with asyncio.timeout(PATIENCE):
        await called.wait()
        workers.server.close()
        with pytest.raises(LogUnavailable, match="is away"):
            await calling
        await cancelled.wait()


async def test_an_append_that_the_log_gives_up_may_be_stored(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
    given_up.cancel()
    worker = await workers.start()
    monkeypatch.setattr(workers.log, "append", lambda *arguments: given_up)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(LogUnavailable, match="may be stored"):
            await worker.append([draft()])


async def test_an_append_of_the_turn_in_which_the_log_process_ends_is_refused(workers: Workers) -> None:
    worker = await workers.start()
    appending = worker.append([draft()])
    for link in workers.links:
        link.connection_lost(None)
    with pytest.raises(LogUnavailable, match="is away"):
        await appending


async def test_a_publisher_faster_than_the_log_process_is_told_that_the_log_is_behind(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await workers.start()
    monkeypatch.setattr(appends, "PENDING_APPENDS", 3)
    answers = await asyncio.gather(*(worker.append([draft()]) for _ in range(5)), return_exceptions=True)
    assert [isinstance(answer, LogUnavailable) for answer in answers] == [False, False, False, True, True]
    monkeypatch.setattr(appends, "PENDING_BYTES", 10)
    for _ in range(2):  # answered appends no longer count
        await worker.append([draft(body=b"x" * 10)])
    with pytest.raises(LogUnavailable, match="behind"):
        await worker.append([draft(body=b"x" * 11)])


async def test_a_worker_continues_with_the_next_log_process(workers: Workers) -> None:
    worker = await workers.start()
    tail = worker.consumer("delivery", 0)
    await publish(worker, "a")
    assert seqs(await take(tail, 1)) == [1]
    await workers.cut()
    await workers.connect(workers.links[0], 1)
    await worker.opened()
    again = worker.consumer("delivery", 1)
    await publish(worker, "a")
    assert seqs(await take(again, 1)) == [2]


async def stuck(*arguments: object) -> Page:
    await asyncio.Event().wait()
    raise AssertionError


async def test_a_call_that_takes_too_long_has_failed(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_CALL_SECONDS", 0.01)
    worker = await workers.start()
    monkeypatch.setattr(workers.log, "read", stuck)
    with pytest.raises(LogUnavailable, match="does not answer"):
        await worker.read(rooms("a"), 0, 1)


async def test_a_log_whose_process_sends_nothing_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_OPEN_SECONDS", 0.01)
    worker = await RemoteLog(Link()).opened()
    assert worker.epoch == ""
    with pytest.raises(LogUnavailable):
        await worker.bounds()


async def test_a_consumer_that_fails_at_once_is_not_opened_in_the_log_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would hold back trimming there. The link may be up already, and the status still be on its way."""
    link, sent = Link(), list[msgspec.Struct]()
    monkeypatch.setattr(link, "send", sent.append)
    worker = RemoteLog(link)
    with pytest.raises(LogUnavailable, match="is away"):
        await next_batch(worker.consumer("delivery", 0))
    assert sent == []


async def test_an_unexpected_error_of_the_log_ends_only_its_call(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*arguments: object) -> Page:
        raise ZeroDivisionError

    worker = await workers.start()
    monkeypatch.setattr(workers.log, "read", broken)
    with pytest.raises(Exception, match="see the server's log"):
        await worker.read(Selection.of(["a"]), 0, 1)
    assert (await worker.bounds()).newest == 0


async def test_calls_under_way_fail_when_the_worker_closes_its_log(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await workers.start()
    monkeypatch.setattr(workers.log, "read", stuck)
    reading = asyncio.ensure_future(worker.read(rooms("a"), 0, 1))
    await asyncio.sleep(0)
    await worker.close()
    with pytest.raises(LogUnavailable, match="is closed"):
        await reading


async def test_a_consumer_fails_as_the_log_does_and_the_next_one_continues(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def restarted(consumer: feeding.Consumer) -> Batch:
        raise LogRestarted("another history")

    worker = await workers.start()
    await publish(worker, "a")
    with monkeypatch.context() as patched:
        patched.setattr(feeding.Consumer, "__anext__", restarted)
        with pytest.raises(LogRestarted, match="another history"):
            await next_batch(worker.consumer("delivery", 0))
    assert workers.log.positions() == {}
    assert seqs(await take(worker.consumer("delivery", 0), 1)) == [1]


async def test_a_consumer_that_is_closed_ends_in_both_processes(workers: Workers) -> None:
    worker = await workers.start()
    tail = worker.consumer("delivery", 0)
    await publish(worker, "a")
    async for batch in tail:
        assert seqs(batch.messages) == [1]
        await tail.aclose()

    async def ended() -> bool:
        return workers.log.positions() == {}

    await until(ended)
    workers.links[0].send(NextBatch(1))  # of the consumer that has ended
    assert (await worker.bounds()).newest == 1


async def test_a_worker_learns_a_revocation_that_comes_while_it_connects(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    revocation = Revocation("anna", "", KEPT_MS * 1_000)
    revocations = iter([[], [revocation], [revocation]])

    async def each() -> Sequence[Revocation]:
        return next(revocations)

    monkeypatch.setattr(workers.log, "revocations", each)
    worker = await workers.start()

    async def told() -> bool:
        return list(await worker.revocations()) == [revocation]

    await until(told)
