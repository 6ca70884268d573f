"""The messages and questions of a worker, over a link to a log process that is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from msgspec import Raw, Struct

from roomcast.log.remote import peers
from roomcast.log.remote.frames import (
    AskPeers,
    PeerQuestion,
    PeerReplies,
    PeerReply,
    PeersPresent,
    Tell,
    Told,
)
from roomcast.log.remote.link import Link
from roomcast.log.remote.peers import WorkerPeers


def encoded(value: object) -> Raw:
    return Raw(msgspec.msgpack.encode(value))


class RecordingLink(Link):
    """A link that keeps the frames sent over it."""

    def __init__(self, connected: bool = True) -> None:
        super().__init__()
        self.connected = connected
        self.frames: asyncio.Queue[Struct] = asyncio.Queue()

    @property
    def is_connected(self) -> bool:
        return self.connected

    def send(self, frame: Struct) -> None:
        self.frames.put_nowait(frame)


def test_the_siblings_are_all_other_workers_and_the_others_those_that_are_connected() -> None:
    workers, changes = WorkerPeers(RecordingLink(), 2, 3), list[object]()
    workers.changed.append(lambda: changes.append(workers.others))
    assert (workers.siblings, workers.others) == ([1, 3], ())
    workers.handle(PeersPresent([3]))
    workers.disconnected()
    assert changes == [[3], ()]


def test_a_message_reaches_the_handler_of_its_topic_and_no_other() -> None:
    link, heard = RecordingLink(), list[tuple[int, Any]]()
    workers = WorkerPeers(link, 1, 2)
    workers.tell("limits", {"a": 1})
    assert link.frames.get_nowait() == Tell("limits", encoded({"a": 1}))
    workers.when_told("limits", lambda worker, value: heard.append((worker, value)))
    for topic in ("limits", "unknown"):
        workers.handle(Told(2, topic, encoded({"a": 2})))
    assert heard == [(2, {"a": 2})]


async def test_the_answers_to_a_question_are_those_of_the_log_process() -> None:
    link = RecordingLink()
    workers = WorkerPeers(link, 1, 3)
    asking = asyncio.ensure_future(workers.ask("metrics", "?"))
    question = await link.frames.get()
    assert question == AskPeers(1, "metrics", encoded("?"))
    workers.handle(PeerReplies(2, [(2, encoded("of another question"))]))
    replies = PeerReplies(1, [(0, encoded("own")), (3, encoded("other"))])
    for _ in range(2):  # the second time nobody waits for it any more
        workers.handle(replies)
    assert await asking == [(0, "own"), (3, "other")]
    workers.handle(replies)
    assert not workers._questions


async def test_without_the_log_process_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    link = RecordingLink(connected=False)
    workers = WorkerPeers(link, 1, 2)
    assert await workers.ask("metrics") == []
    assert link.frames.empty()
    link.connected = True
    asking = asyncio.ensure_future(workers.ask("metrics"))
    await link.frames.get()
    for _ in range(2):
        workers.disconnected()
    assert await asking == []
    monkeypatch.setattr(peers, "_ANSWER_SECONDS", 0.0)
    assert await workers.ask("metrics") == []


async def answer_later(question: Any) -> Any:
    return question


def fail(question: Any) -> Any:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("handler", "answer"),
    [(str.upper, "ABC"), (answer_later, "abc"), (fail, None), (None, None)],
    ids=["at once", "later", "never", "no handler"],
)
async def test_each_question_is_answered(
    handler: Callable[[Any], Any | Awaitable[Any]] | None, answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    link = RecordingLink()
    workers = WorkerPeers(link, 1, 2)
    if handler:
        workers.when_asked("topic", handler)
    workers.handle(PeerQuestion(7, "topic", encoded("abc")))
    assert await link.frames.get() == PeerReply(7, encoded(answer))
    assert caplog.messages == ["a worker's question could not be answered: topic"] * (handler is fail)
