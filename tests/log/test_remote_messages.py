"""Messages and questions between workers, through a log process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
from msgspec import Raw

from roomcast.log.memory import MemoryLog
from roomcast.log.remote import exchange
from roomcast.log.remote.frames import (
    AskPeers,
    FromLog,
    PeerQuestion,
    PeerReplies,
    PeerReply,
    PeersPresent,
    Tell,
    Told,
)
from roomcast.log.remote.link import Link
from roomcast.model.retention import Retention
from tests.log.remote_workers import Workers
from tests.log.steps import until


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


async def test_a_question_does_not_wait_for_a_worker_that_leaves(
    recorders: list[Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "_REPLY_SECONDS", 1_000)
    recorders[1].link.send(AskPeers(8, "silence", payload("?")))
    for recorder in (recorders[0], recorders[2]):
        recorder.link.close()

    async def given_up() -> bool:
        return recorders[1].replies == [{}]

    await until(given_up)
    assert recorders[1].present == []
