"""The log process's connections to its workers, with workers that only record frames."""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec
from msgspec import Raw, Struct

from roomcast.log.remote.consumer import RemoteConsumer
from roomcast.log.remote.exchange import _WAITING_BYTES, WorkerExchange
from roomcast.log.remote.frames import AskPeers, NextBatch, PeerReplies, RevocationList, Tell, Told
from roomcast.log.remote.server import LogServer
from roomcast.log.remote.worker_connection import WorkerConnection

PAYLOAD = Raw(msgspec.msgpack.encode(1))


class Recorder:
    """A worker's connection, or a worker's log, that keeps the frames sent over it."""

    def __init__(self, worker: int = 0, unread_bytes: int = 0) -> None:
        self.worker = worker
        self.unread_bytes = unread_bytes
        self.frames: list[Struct] = []
        self.aborted = False

    def send(self, frame: Struct) -> None:
        self.frames.append(frame)

    def abort(self) -> None:
        self.aborted = True

    def forget(self, number: int) -> None: ...

    def why_away(self) -> str:
        return ""

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


class Transport:
    """A transport that notes whether it reads."""

    def __init__(self) -> None:
        self.reads = True

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


async def test_a_consumer_whose_wait_is_cancelled_requests_its_batch_once() -> None:
    log = Recorder()
    consumer = RemoteConsumer(log, 1, "test", 0)
    for _ in range(3):
        waiting = asyncio.ensure_future(anext(consumer))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    assert len(log.of(NextBatch)) == 1
