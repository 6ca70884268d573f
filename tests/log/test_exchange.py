"""The log process's connections to its workers, with workers that only record frames."""

from __future__ import annotations

import asyncio
import socket
from itertools import count
from typing import cast

import msgspec
import pytest
from msgspec import Raw, Struct

from roomcast.log.append_queue import AppendRequest
from roomcast.log.base import Appended, Batch, Log, LogConsumer
from roomcast.log.remote import exchange as exchange_module
from roomcast.log.remote.appends import Appends
from roomcast.log.remote.calls import _CALLS_AT_ONCE, Calls
from roomcast.log.remote.consumer import RemoteConsumer
from roomcast.log.remote.consumer_proxy import ConsumerProxy
from roomcast.log.remote.exchange import _WAITING_BYTES, WorkerExchange
from roomcast.log.remote.frames import (
    AppendOutcomes,
    AskPeers,
    CloseConsumer,
    ConsumerEnded,
    LogStatus,
    MethodCall,
    NextBatch,
    PeerQuestion,
    PeerReplies,
    PeerReply,
    PeersPresent,
    RequestFailed,
    RevocationList,
    Tell,
    Told,
    framed,
)
from roomcast.log.remote.link import Link
from roomcast.log.remote.log import RemoteLog
from roomcast.log.remote.server import LogServer
from roomcast.log.remote.worker_connection import WorkerConnection
from roomcast.model.errors import LogRestarted, LogUnavailable, OutcomeUnknown, RoomcastError
from roomcast.model.message import Message
from roomcast.model.retention import Retention
from roomcast.model.revocation import Revocation
from tests.log.steps import PATIENCE, draft, until

PAYLOAD = Raw(msgspec.msgpack.encode(1))


class Recorder:
    """A worker's connection, or a worker's log, that keeps the frames sent over it."""

    def __init__(self, worker: int = 0, unread_bytes: int = 0) -> None:
        self.worker = worker
        self.unread_bytes = unread_bytes
        self.frames: list[Struct] = []
        self.aborted = False
        self.forgotten: list[int] = []

    def send(self, frame: Struct) -> None:
        self.frames.append(frame)

    def abort(self) -> None:
        self.aborted = True

    def forget(self, number: int) -> None:
        self.forgotten.append(number)

    def of(self, kind: type[Struct]) -> list[Struct]:
        return [frame for frame in self.frames if isinstance(frame, kind)]


def test_a_worker_that_reconnects_replaces_its_older_connection() -> None:
    exchange, left = WorkerExchange(), list[int]()
    exchange.on_leave.append(left.append)
    old, new, other = Recorder(1), Recorder(1), Recorder(2)
    for connection in (old, other, new):
        exchange.enter(connection)
    assert left == [1]
    exchange.leave(old)
    assert left == [1]
    exchange.tell(other, Tell("topic", PAYLOAD))
    assert (len(new.of(Told)), len(old.of(Told))) == (1, 0)
    exchange.leave(new)
    assert left == [1, 1]


async def test_a_worker_that_reads_nothing_is_cut_by_a_message_and_not_asked() -> None:
    exchange = WorkerExchange()
    sender, full, hung = Recorder(1), Recorder(2, _WAITING_BYTES), Recorder(3, _WAITING_BYTES + 1)
    for connection in (sender, full, hung):
        exchange.enter(connection)
    exchange.tell(sender, Tell("topic", PAYLOAD))
    assert [connection.aborted for connection in (full, hung)] == [False, True]
    assert (len(full.of(Told)), len(hung.of(Told))) == (1, 0)
    exchange.leave(full)
    exchange.ask(sender, AskPeers(1, "topic", PAYLOAD))
    assert len(sender.of(PeerReplies)) == 1  # at once, as nobody is asked


async def test_an_answer_that_comes_too_late_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "_REPLY_SECONDS", 0.0)
    exchange, sender, slow = WorkerExchange(), Recorder(1), Recorder(2)
    for connection in (sender, slow):
        exchange.enter(connection)
    exchange.ask(sender, AskPeers(7, "topic", PAYLOAD))

    async def is_silent() -> bool:
        return bool(exchange._silent)

    await until(is_silent)
    exchange.ask(sender, AskPeers(8, "topic", PAYLOAD))  # not waited for, as it is silent
    exchange.reply(slow, PeerReply(2, PAYLOAD))
    exchange.leave(slow)
    assert sender.of(PeerReplies) == [PeerReplies(7, []), PeerReplies(8, [])]


async def test_questions_and_answers_of_workers_are_shown_to_the_log_process() -> None:
    exchange, values = WorkerExchange(), list[tuple[int, Raw]]()
    exchange.on_value["topic"] = lambda worker, value: values.append((worker, value))
    exchange.own_answers["topic"] = lambda: PAYLOAD
    first, second = Recorder(1), Recorder(2)
    for connection in (first, second):
        exchange.enter(connection)
    exchange.ask(first, AskPeers(7, "topic", PAYLOAD))
    exchange.reply(second, PeerReply(1, PAYLOAD))
    assert values == [(1, PAYLOAD), (2, PAYLOAD)]
    assert first.of(PeerReplies) == [PeerReplies(7, [(0, PAYLOAD), (2, PAYLOAD)])]


class Transport:
    """A transport that notes what is written, whether it reads, and how it was closed."""

    def __init__(self) -> None:
        self.reads = True
        self.closed: list[str] = []
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed.append("close")

    def abort(self) -> None:
        self.closed.append("abort")

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


def test_nothing_is_read_from_a_worker_that_does_not_read() -> None:
    transport = Transport()
    connection = WorkerConnection(LogServer(None), 1, RevocationList([]))
    connection._transport = cast(asyncio.Transport, transport)
    connection.pause_writing()
    assert not transport.reads
    connection.resume_writing()
    assert transport.reads


def test_a_connection_is_closed_once() -> None:
    transport, server = Transport(), LogServer(None)
    connection = WorkerConnection(server, 1, RevocationList([]))
    connection._transport = cast(asyncio.Transport, transport)
    server._connections.add(connection)
    connection.abort()
    server.close()
    connection.connection_lost(None)
    for after in (connection.abort, connection.close, connection.pause_writing, connection.resume_writing):
        after()
    connection.send(Told(1, "topic", PAYLOAD))
    assert (transport.closed, connection.unread_bytes) == (["abort", "close"], 0)


def test_a_log_process_without_a_log_sends_no_status() -> None:
    recorder = Recorder(1)
    LogServer(None).enter(cast(WorkerConnection, recorder), RevocationList([]))
    assert recorder.frames == [PeersPresent([])]


def test_a_log_process_without_a_log_says_so() -> None:
    with pytest.raises(LogUnavailable, match="owns no log"):
        _ = LogServer(None).log


async def test_a_consumer_whose_wait_is_cancelled_requests_its_batch_once() -> None:
    log = Recorder()
    consumer = RemoteConsumer(log, 1, "test", 0)
    for _ in range(3):
        waiting = asyncio.ensure_future(anext(consumer))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert len(log.of(NextBatch)) == 1


async def test_a_consumer_that_is_closed_twice_says_so_once() -> None:
    log = Recorder()
    consumer = RemoteConsumer(log, 1, "test", 0)
    for _ in range(2):
        await consumer.aclose()
    assert log.of(CloseConsumer) == [CloseConsumer(1)]


class Broken:
    """A consumer of a log with a fault."""

    closed = False

    async def __anext__(self) -> Batch:
        raise ZeroDivisionError

    async def aclose(self) -> None:
        self.closed = True


async def test_a_worker_whose_consumer_fails_unexpectedly_is_told_so(caplog: pytest.LogCaptureFixture) -> None:
    worker, consumer = Recorder(), Broken()
    proxy = ConsumerProxy(cast(WorkerConnection, worker), lambda messages: PAYLOAD, 1, cast(LogConsumer, consumer))
    proxy.request()
    await proxy.run()
    assert worker.of(RequestFailed) == [RequestFailed(1, RoomcastError.kind, "see the server's log")]
    assert (consumer.closed, worker.forgotten) == (True, [1])
    assert "ZeroDivisionError" in caplog.text


class Stopping:
    """A consumer that waits until it is closed, and then ends, or fails with `error`."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.closed = asyncio.Event()

    async def __anext__(self) -> Batch:
        await self.closed.wait()
        raise self.error or StopAsyncIteration

    async def aclose(self) -> None:
        self.closed.set()


@pytest.mark.parametrize("requested", [True, False])
async def test_a_worker_is_told_that_its_consumer_has_ended(requested: bool) -> None:
    worker = Recorder()
    proxy = ConsumerProxy(
        cast(WorkerConnection, worker), lambda messages: PAYLOAD, 1, cast(LogConsumer, Stopping())
    )
    if requested:
        proxy.request()
    running = asyncio.create_task(proxy.run())
    await asyncio.sleep(0)
    proxy.close()
    await asyncio.wait_for(running, PATIENCE)
    assert worker.frames == [ConsumerEnded(1)]


async def test_an_error_of_a_consumer_that_is_no_defect_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    worker, consumer = Recorder(), Stopping(LogRestarted())
    proxy = ConsumerProxy(cast(WorkerConnection, worker), lambda messages: PAYLOAD, 1, cast(LogConsumer, consumer))
    proxy.request()
    consumer.closed.set()
    await proxy.run()
    assert worker.of(RequestFailed) == [RequestFailed(1, LogRestarted.kind, LogRestarted().detail)]
    assert not caplog.messages


class Revoking:
    """A log with other revocations each time."""

    name, epoch, unwritable, retention = "log", "epoch", "", Retention()

    def __init__(self) -> None:
        self.asked = 0

    async def revocations(self) -> list[Revocation]:
        self.asked += 1
        return [Revocation(str(self.asked), None, 1)]


def test_a_worker_knows_the_revocations_before_it_serves_anybody() -> None:
    server, worker = LogServer(cast(Log, Revoking())), Recorder(1)
    server.enter(cast(WorkerConnection, worker), RevocationList([]))
    assert [type(frame) for frame in worker.frames[:2]] == [RevocationList, LogStatus]


async def test_a_worker_learns_revocations_that_change_while_it_connects() -> None:
    server, link = LogServer(cast(Log, Revoking())), Link()
    worker = RemoteLog(link)
    ours, theirs = socket.socketpair()
    await server.connect(1, theirs)
    await link.connect(ours)
    await worker.opened()

    async def are_known() -> bool:
        return [row.sub for row in await worker.revocations()] == ["3"]

    await until(are_known)
    link.close()
    server.close()


def test_a_link_that_was_lost_reconnects_and_one_that_was_closed_does_not() -> None:
    reconnected: list[None] = []
    link = Link(lambda: reconnected.append(None))
    link.connection_lost(None)
    assert len(reconnected) == 1
    link.close()
    link.connection_lost(None)
    assert len(reconnected) == 1


def test_workers_learn_each_change_of_the_status_once_and_only_while_they_are_connected() -> None:
    log = Revoking()
    server = LogServer(cast(Log, log))
    stays, leaves = Recorder(1), Recorder(2)
    for worker in (stays, leaves):
        server.enter(cast(WorkerConnection, worker), RevocationList([]))
    server.tell_status()
    log.unwritable = "The disk is full."
    server.tell_status()
    server.tell_status()
    server.leave(cast(WorkerConnection, leaves))
    log.unwritable = ""
    server.tell_status()
    told = [[cast(LogStatus, frame).unwritable for frame in worker.of(LogStatus)] for worker in (stays, leaves)]
    assert told == [["", "The disk is full.", ""], ["", "The disk is full."]]


def calls_over(worker: Recorder, why_away: str = "") -> Calls:
    return Calls(cast(Link, worker), lambda: why_away, count(1).__next__)


async def test_a_worker_has_a_bounded_number_of_calls_on_their_way() -> None:
    worker = Recorder()
    calls = calls_over(worker)
    calling = [asyncio.ensure_future(calls.call("get", seq)) for seq in range(1, _CALLS_AT_ONCE + 3)]
    await asyncio.sleep(0)
    assert len(worker.of(MethodCall)) == _CALLS_AT_ONCE
    calls.resolve(1, Raw(msgspec.msgpack.encode(None)))
    assert await calling[0] is None
    assert len(worker.of(MethodCall)) == _CALLS_AT_ONCE + 1
    for task in calling:
        task.cancel()
    await asyncio.gather(*calling, return_exceptions=True)
    assert not calls._answers


async def test_a_result_or_error_that_comes_when_its_caller_was_just_cancelled_is_dropped() -> None:
    calls = calls_over(Recorder())
    calling = [asyncio.ensure_future(calls.call("get", seq)) for seq in (1, 2)]
    await asyncio.sleep(0)
    for task in calling:
        task.cancel()
    calls.resolve(1, Raw(msgspec.msgpack.encode(None)))
    calls.fail(2, LogUnavailable("gone"))
    outcomes = await asyncio.gather(*calling, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 2


async def test_a_call_to_a_log_that_is_away_fails_at_once_and_sends_nothing() -> None:
    worker = Recorder()
    with pytest.raises(LogUnavailable, match="away"):
        await calls_over(worker, "The log process is away.").call("bounds")
    assert not worker.frames


def test_a_frame_that_the_last_connection_cut_short_does_not_spoil_the_next_one() -> None:
    link = Link()
    worker = RemoteLog(link)
    status = framed(LogStatus("log", "epoch", Retention(), ""))
    link.data_received(status[:9])
    link.connection_lost(None)
    link.connection_made(asyncio.Transport())
    link.data_received(status)
    assert worker.epoch == "epoch"


async def test_a_frame_that_is_sent_without_a_connection_does_not_wait_for_the_next_one() -> None:
    link, lost, transport = Link(), Transport(), Transport()
    link.send(NextBatch(1))
    link.connection_made(cast(asyncio.Transport, lost))
    link.send(NextBatch(2))
    link.connection_lost(None)
    link.connection_made(cast(asyncio.Transport, transport))
    link.send(NextBatch(3))
    link.close()
    assert (lost.written, transport.written) == ([], [framed(NextBatch(3))])


async def test_a_connection_sends_what_waits_before_it_closes_and_batches_before_answers() -> None:
    connection, transport = WorkerConnection(LogServer(None), 1, RevocationList([])), Transport()
    connection._transport = cast(asyncio.Transport, transport)
    connection._stored.append((7, 1, 1, [0], False))
    connection.send(ConsumerEnded(1))
    connection.close()
    assert transport.written == [framed(ConsumerEnded(1)) + framed(AppendOutcomes([(7, 1, 1, [0], False)], []))]


def test_a_batch_is_encoded_once_for_all_workers() -> None:
    server, messages = LogServer(None), [Message(1, "a", None, 1, 0, b"{}")]
    encoded = server.encode_messages(messages)
    assert server.encode_messages(messages) is encoded
    assert server.encode_messages([]) != encoded


class Connected(Recorder):
    """A link that is connected."""

    is_connected = True


async def test_a_log_that_closes_does_not_wait_for_appends_that_are_never_answered() -> None:
    appends = Appends(cast(Link, Connected()), lambda: "")

    async def end(answers: list[asyncio.Future[Appended]]) -> None:
        if not answers:
            answers.append(appends.add(AppendRequest([draft()], None)))
        await appends.end()

    answers: list[asyncio.Future[Appended]] = []
    cancelled, ending = (asyncio.create_task(end(answers)) for _ in range(2))
    for _ in range(2):
        await asyncio.sleep(0)
        assert not ending.done()
        cancelled.cancel()
    [answer] = answers
    appends.fail(OutcomeUnknown, "The connection was lost.")
    await asyncio.wait_for(ending, PATIENCE)
    assert isinstance(answer.exception(), OutcomeUnknown)


async def test_a_worker_that_takes_the_place_of_a_silent_one_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = WorkerExchange()
    sender, silent, successor = Recorder(1), Recorder(2), Recorder(2)
    server.enter(sender)
    server.enter(silent)
    monkeypatch.setattr(exchange_module, "_REPLY_SECONDS", 0)
    server.ask(sender, AskPeers(1, "topic", PAYLOAD))

    async def is_given_up() -> bool:
        return server._silent == {2}

    await until(is_given_up)
    server.leave(silent)
    server.enter(successor)
    monkeypatch.setattr(exchange_module, "_REPLY_SECONDS", 1_000)
    server.ask(sender, AskPeers(2, "topic", PAYLOAD))
    assert len(sender.of(PeerReplies)) == 1
    [question] = successor.of(PeerQuestion)
    server.reply(successor, PeerReply(cast(PeerQuestion, question).number, PAYLOAD))
    assert [len(cast(PeerReplies, replies).answers) for replies in sender.of(PeerReplies)] == [0, 1]


async def test_the_log_of_a_worker_closes_its_link() -> None:
    reconnected: list[None] = []
    link = Link(lambda: reconnected.append(None))
    await RemoteLog(link).close()
    link.connection_lost(None)
    assert not reconnected
