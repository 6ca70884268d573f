"""The other workers of this machine, for whatever a worker has to tell or to ask them. It knows no topic."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any

import msgspec
from msgspec import Raw

from roomcast.log.remote.frames import Ask, Asked, FromLog, Present, Replies, Reply, Tell, Told, encode
from roomcast.log.remote.link import Link

_ANSWER_SECONDS = 2.0
"""A question that the log process has not passed on by then has no answers."""

Hear = Callable[[int, Any], object]
"""Called with a worker's number and what it tells."""
Answer = Callable[[Any], Any | Awaitable[Any]]
"""Gives what is asked for."""

logger = logging.getLogger("roomcast.server")


class Peers:
    """What is told arrives within milliseconds, in the order of each teller, and not at all at a worker that
    stands still for long: it begins anew when it goes on. Values are what msgpack has."""

    def __init__(self, link: Link, number: int, workers: int) -> None:
        """`workers` is how many the server has, of which this is `number`."""
        self.number = number
        """This worker's."""
        self.siblings: Sequence[int] = [one for one in range(1, workers + 1) if one != number]
        """The numbers of all others, whether they are there or not."""
        self.others: Sequence[int] = ()
        """The numbers of the others that are there."""
        self.changed: list[Callable[[], object]] = []
        """Called whenever `others` has changed."""
        self._link = link
        self._hears: dict[str, Hear] = {}
        self._answers: dict[str, Answer] = {}
        self._numbers = count(1)
        self._questions: dict[int, asyncio.Future[list[tuple[int, Any]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.hears: Sequence[type[FromLog]] = (Told, Asked, Replies, Present)
        link.add(self)

    def tell(self, topic: str, value: Any) -> None:
        """To all others."""
        self._link.send(Tell(topic, Raw(encode(value))))

    def when_told(self, topic: str, hear: Hear) -> None:
        """From now on `hear` is called with what others tell."""
        self._hears[topic] = hear

    async def ask(self, topic: str, value: Any = None) -> list[tuple[int, Any]]:
        """What each of the others, and the log process (0), answers; without those that stand still."""
        if not self._link.up:
            return []
        number = next(self._numbers)
        answers: asyncio.Future[list[tuple[int, Any]]] = asyncio.get_running_loop().create_future()
        self._questions[number] = answers
        self._link.send(Ask(number, topic, Raw(encode(value))))
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await answers
        except TimeoutError:
            return []
        finally:
            del self._questions[number]

    def when_asked(self, topic: str, answer: Answer) -> None:
        """From now on `answer` gives what others are told who ask."""
        self._answers[topic] = answer

    def hear(self, frame: Any) -> None:
        """A frame of the log process."""
        if isinstance(frame, Told):
            if hear := self._hears.get(frame.topic):
                hear(frame.worker, msgspec.msgpack.decode(frame.payload))
        elif isinstance(frame, Present):
            self.others = frame.workers
            self._tell_of_change()
        elif isinstance(frame, Replies):
            self._answered(frame)
        elif isinstance(frame, Asked):
            task = asyncio.get_running_loop().create_task(self._reply(frame))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def lost(self) -> None:
        """The log process has ended: nobody is heard of until the next one is there."""
        self.others = ()
        for answers in self._questions.values():
            if not answers.done():
                answers.set_result([])
        self._tell_of_change()

    def _tell_of_change(self) -> None:
        for changed in self.changed:
            changed()

    def _answered(self, replies: Replies) -> None:
        answers = self._questions.get(replies.number)
        if answers and not answers.done():
            answers.set_result([(worker, msgspec.msgpack.decode(value)) for worker, value in replies.answers])

    async def _reply(self, asked: Asked) -> None:
        value = None
        try:
            if answer := self._answers.get(asked.topic):
                value = answer(msgspec.msgpack.decode(asked.payload))
                if inspect.isawaitable(value):
                    value = await value
        except Exception:  # whoever asks must not wait for it
            logger.exception("a worker's question could not be answered: %s", asked.topic)
        self._link.send(Reply(asked.number, Raw(encode(value))))
