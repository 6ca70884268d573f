"""A worker's messages and questions to the other workers of its server. It knows no topics."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

import msgspec
from msgspec import Raw

from roomcast.log.remote.frames import (
    AskPeers,
    FromLog,
    PeerQuestion,
    PeerReplies,
    PeerReply,
    PeersPresent,
    Tell,
    Told,
    encode,
)
from roomcast.log.remote.link import Link

_ANSWER_SECONDS = 2.0
"""Seconds after which a question counts as unanswered: the log process, which waits only `_REPLY_SECONDS` for the
others, is then hung or away."""

MessageHandler = Callable[[int, Any], object]
"""Called with a worker's number and its message."""
QuestionHandler = Callable[[Any], Any | Awaitable[Any]]
"""Called with a question; returns its answer."""

logger = logging.getLogger("roomcast.server")


class WorkerPeers:
    """The other workers. Messages arrive within milliseconds, in each sender's order. A worker that hangs for long
    gets none; it reconnects when it runs again. Messages, questions and answers are values that msgpack can
    encode."""

    def __init__(self, link: Link, number: int, workers: int, restarts: int = 0) -> None:
        """`workers` is how many the server has, of which this is `number`. `restarts` counts the processes that
        were this worker before."""
        self.number = number
        """The number of this worker."""
        self.restarts = restarts
        self.siblings: Sequence[int] = [one for one in range(1, workers + 1) if one != number]
        """The numbers of all others, whether they are connected or not."""
        self.others: Sequence[int] = ()
        """The numbers of the other connected workers."""
        self.changed: list[Callable[[], object]] = []
        """Called whenever `others` has changed."""
        self._link = link
        self._message_handlers: dict[str, MessageHandler] = {}
        self._question_handlers: dict[str, QuestionHandler] = {}
        self._numbers = count(1)
        self._questions: dict[int, asyncio.Future[list[tuple[int, Any]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.handles: Sequence[type[FromLog]] = (Told, PeerQuestion, PeerReplies, PeersPresent)
        link.add(self)

    def tell(self, topic: str, value: Any) -> None:
        """Sends the message `value` on `topic` to all other workers. Returns before it is sent; if the log process
        is away, it is lost."""
        self._link.send(Tell(topic, Raw(encode(value))))

    def when_told(self, topic: str, hear: MessageHandler) -> None:
        """Registers `hear` for the messages of others on `topic`, in place of an earlier one."""
        self._message_handlers[topic] = hear

    async def ask(self, topic: str, value: Any = None) -> list[tuple[int, Any]]:
        """Asks all others for `value` on `topic`. Returns the answers of the other workers, by number, and of the
        log process (number 0), without those of hung ones; none after `_ANSWER_SECONDS`, or if the log process is
        away."""
        if not self._link.is_connected:
            return []
        number = next(self._numbers)
        answers: asyncio.Future[list[tuple[int, Any]]] = asyncio.get_running_loop().create_future()
        self._questions[number] = answers
        self._link.send(AskPeers(number, topic, Raw(encode(value))))
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await answers
        except TimeoutError:
            return []
        finally:
            del self._questions[number]

    def when_asked(self, topic: str, answer: QuestionHandler) -> None:
        """Registers `answer` for the questions of others on `topic`. Without it they are answered with None."""
        self._question_handlers[topic] = answer

    def handle(self, frame: Any) -> None:
        """Handles `frame`, which the log process has sent."""
        if isinstance(frame, Told):
            if hear := self._message_handlers.get(frame.topic):
                hear(frame.worker, msgspec.msgpack.decode(frame.payload))
        elif isinstance(frame, PeersPresent):
            self.others = frame.workers
            self._note_change()
        elif isinstance(frame, PeerReplies):
            self._answered(frame)
        else:  # a PeerQuestion
            task = asyncio.get_running_loop().create_task(self._reply(frame))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def disconnected(self) -> None:
        """Notes that the log process has ended: no worker can be reached until the next log process runs."""
        self.others = ()
        for answers in self._questions.values():
            if not answers.done():
                answers.set_result([])
        self._note_change()

    def _note_change(self) -> None:
        for changed in self.changed:
            changed()

    def _answered(self, replies: PeerReplies) -> None:
        answers = self._questions.get(replies.number)
        if answers and not answers.done():
            answers.set_result([(worker, msgspec.msgpack.decode(value)) for worker, value in replies.answers])

    async def _reply(self, question: PeerQuestion) -> None:
        value = None
        try:
            if answer := self._question_handlers.get(question.topic):
                value = answer(msgspec.msgpack.decode(question.payload))
                if inspect.isawaitable(value):
                    value = await value
        except Exception:  # the worker that asked still gets an answer, and does not wait
            logger.exception("a worker's question could not be answered: %s", question.topic)
        self._link.send(PeerReply(question.number, Raw(encode(value))))
