"""The log over a socket: everything beside the contract, which `test_contract` tests."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from msgspec import Raw

from roomcast.log import consumers as feeding
from roomcast.log.base import Log, Page
from roomcast.log.memory import MemoryLog
from roomcast.log.remote import appends, calls, exchange
from roomcast.log.remote import log as remote
from roomcast.log.remote.frames import (
    AskPeers,
    FromLog,
    PeerQuestion,
    PeerReplies,
    PeerReply,
    PeersPresent,
    Splitter,
    Tell,
    Told,
    framed,
)
from roomcast.log.remote.link import Link
from roomcast.log.remote.log import RemoteLog
from roomcast.log.remote.server import LogServer
from roomcast.log.sqlite import log as sqlite
from roomcast.model.errors import LogUnavailable, OutcomeUnknown
from roomcast.model.retention import Retention
from roomcast.model.rooms import Selection
from tests.log.steps import draft, key, next_batch, publish, rooms, seqs, take, until


class Workers:
    """A log process and any number of workers, all in this process."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.server = LogServer(log)
        self.links: list[Link] = []

    async def start(self) -> RemoteLog:
        link = Link()
        worker = RemoteLog(link)
        self.links.append(link)
        await self.connect(link, len(self.links))
        return await worker.opened()

    async def connect(self, link: Link, number: int) -> None:
        ours, theirs = socket.socketpair()
        await self.server.connect(number, theirs)
        await link.connect(ours)

    async def cut(self) -> None:
        """The log process ends, and another one takes its place."""
        self.server.close()
        self.server = LogServer(self.log)
        await until(self._are_cut)

    async def _are_cut(self) -> bool:
        return not any(link.is_connected for link in self.links)


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
    asked = asyncio.ensure_future(next_batch(standing))
    taking = asyncio.ensure_future(take(moving, 200))
    for _ in range(200):
        await publish(fast, "a", body=b"x" * 1_000)
    assert seqs(await taking) == list(range(1, 201))
    reading = asyncio.ensure_future(next_batch(moving))

    async def trimmed() -> bool:
        return (await workers.log.bounds()).trimmed == 100

    await until(trimmed)
    reading.cancel()
    first = await asked
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


async def test_a_call_that_takes_too_long_has_failed(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "_CALL_SECONDS", 0.01)

    async def stuck(*arguments: object) -> Page:
        await asyncio.Event().wait()
        raise AssertionError

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


# Messages and questions between workers


class Recorder:
    """A worker that keeps all frames for it, and answers questions with their own payload."""

    handles: Sequence[type[FromLog]] = (Told, PeersPresent, PeerReplies, PeerQuestion)

    def __init__(self, link: Link) -> None:
        self.link = link
        self.told: list[tuple[int, str, object]] = []
        self.present: list[int] = []
        self.replies: list[dict[int, object]] = []
        link.add(self)

    def handle(self, frame: FromLog) -> None:
        if isinstance(frame, Told):
            self.told.append((frame.worker, frame.topic, msgspec.msgpack.decode(frame.payload)))
        elif isinstance(frame, PeersPresent):
            self.present = frame.workers
        elif isinstance(frame, PeerReplies):
            self.replies.append({worker: msgspec.msgpack.decode(payload) for worker, payload in frame.answers})
        elif isinstance(frame, PeerQuestion) and frame.topic != "silence":
            self.link.send(PeerReply(frame.number, frame.payload))

    def disconnected(self) -> None:
        self.present = []


@pytest.fixture
async def recorders() -> AsyncIterator[list[Recorder]]:
    workers = Workers(MemoryLog(Retention()))
    recorders = []
    for number in (1, 2, 3):
        recorders.append(Recorder(Link()))
        workers.links.append(recorders[-1].link)
        await workers.connect(recorders[-1].link, number)
    await until_present(recorders[0], [2, 3])
    yield recorders
    for link in workers.links:
        link.close()
    workers.server.close()


async def until_present(recorder: Recorder, expected: list[int]) -> None:
    async def present() -> bool:
        return recorder.present == expected

    await until(present)


def payload(value: object) -> Raw:
    return Raw(msgspec.msgpack.encode(value))


async def test_a_message_of_a_worker_reaches_all_others(recorders: list[Recorder]) -> None:
    recorders[0].link.send(Tell("limits", payload({"a": 1})))

    async def received() -> bool:
        return all(recorder.told == [(1, "limits", {"a": 1})] for recorder in recorders[1:])

    await until(received)
    assert recorders[0].told == []


async def test_a_question_is_answered_by_all_others(recorders: list[Recorder]) -> None:
    recorders[1].link.send(AskPeers(7, "metrics", payload("?")))

    async def answered() -> bool:
        return recorders[1].replies == [{1: "?", 3: "?"}]

    await until(answered)


async def ask(recorder: Recorder, topic: str) -> dict[int, object]:
    """The answers to a question of this worker."""
    recorder.replies.clear()
    recorder.link.send(AskPeers(7, topic, payload("?")))

    async def answered() -> bool:
        return bool(recorder.replies)

    await until(answered)
    return recorder.replies[0]


async def test_a_silent_worker_is_waited_for_once_and_again_after_it_has_answered(
    recorders: list[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_REPLY_SECONDS", 0.01)
    assert await ask(recorders[1], "silence") == {}
    monkeypatch.setattr(exchange, "_REPLY_SECONDS", 1_000)
    assert await ask(recorders[1], "silence") == {}

    async def is_waited_for() -> bool:
        return await ask(recorders[1], "metrics") == {1: "?", 3: "?"}

    await until(is_waited_for)


async def test_a_question_does_not_wait_for_a_worker_that_leaves(recorders: list[Recorder]) -> None:
    recorders[1].link.send(AskPeers(8, "silence", payload("?")))
    for recorder in (recorders[0], recorders[2]):
        recorder.link.close()

    async def given_up() -> bool:
        return recorders[1].replies == [{}]

    await until(given_up)
    assert recorders[1].present == []
