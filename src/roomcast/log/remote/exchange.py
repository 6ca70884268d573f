"""Passes messages and questions between workers, in the log process. It knows no topics."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from typing import Protocol

from msgspec import Raw, Struct

from roomcast.log.remote.frames import AskPeers, PeerQuestion, PeerReplies, PeerReply, PeersPresent, Tell, Told

_WAITING_BYTES = 8 * 1024 * 1024
"""A worker that has not read more bytes than this counts as hung. Its connection is cut; it reconnects when it
runs again."""
_REPLY_SECONDS = 1.0
"""Seconds that a question waits for workers that do not answer."""


class _Worker(Protocol):
    """A connected worker, as the exchange needs it."""

    worker: int

    @property
    def unread_bytes(self) -> int:
        """Bytes that it has not read yet."""
        ...

    def send(self, frame: Struct) -> None:
        """Sends it a frame."""
        ...

    def abort(self) -> None:
        """Ends its connection."""
        ...


class WorkerExchange:
    """Passes messages from one worker to all others."""

    def __init__(self) -> None:
        self._all: dict[int, _Worker] = {}
        """The connected workers, by number."""
        self._numbers = count(1)
        self._questions: dict[int, _OpenQuestion] = {}
        self._silent: set[int] = set()
        """Workers that did not answer a question in time. They are still asked, but nobody waits for them until
        they answer. Otherwise each page of a list would take a second or two while one of them hangs."""
        self.own_answers: dict[str, Callable[[], Raw]] = {}
        """By topic, the answer of the log process itself."""
        self.on_value: dict[str, Callable[[int, Raw], object]] = {}
        """By topic; called with a worker's number and the value of each of its questions and answers."""
        self.on_leave: list[Callable[[int], object]] = []
        """Called with the number of each worker that leaves."""

    def enter(self, connection: _Worker) -> None:
        """Adds a worker that has connected. Its `connection` replaces an older one of the same worker."""
        if connection.worker in self._all:
            self._note_left(connection.worker)
        self._all[connection.worker] = connection
        self._announce()

    def leave(self, connection: _Worker) -> None:
        """Removes a worker whose `connection` is gone. Does nothing if a newer one has replaced it."""
        if self._all.get(connection.worker) is connection:
            del self._all[connection.worker]
            self._announce()
            self._note_left(connection.worker)

    def _note_left(self, worker: int) -> None:
        self._silent.discard(worker)
        for note in self.on_leave:
            note(worker)
        for question in list(self._questions.values()):
            question.give_up(worker)

    def tell(self, sender: _Worker, message: Tell) -> None:
        """Passes a `message` of `sender` on to all other workers."""
        told = Told(sender.worker, message.topic, message.payload)
        for other in self._others(sender):
            if other.unread_bytes > _WAITING_BYTES:
                other.abort()
            else:
                other.send(told)

    def ask(self, sender: _Worker, question: AskPeers) -> None:
        """Passes a `question` on to all other workers. `sender` gets their answers when all have answered, or
        after `_REPLY_SECONDS`."""
        topic = question.topic
        self._note_value(topic, sender, question.payload)
        number = next(self._numbers)
        others = {other.worker for other in self._others(sender) if other.unread_bytes <= _WAITING_BYTES}
        awaited = others - self._silent
        own = [(0, self.own_answers[topic]())] if topic in self.own_answers else []
        pending = self._questions[number] = _OpenQuestion(sender, question.number, topic, awaited, own)
        pending.done.add_done_callback(lambda _: self._close(number))
        for worker in others:
            self._all[worker].send(PeerQuestion(number, topic, question.payload))

    def reply(self, sender: _Worker, reply: PeerReply) -> None:
        """Takes the `reply` of the worker `sender`. It no longer counts as silent, even if it replies too late."""
        self._silent.discard(sender.worker)
        if question := self._questions.get(reply.number):
            self._note_value(question.topic, sender, reply.payload)
            question.answer(sender.worker, reply.payload)

    def _note_value(self, topic: str, sender: _Worker, value: Raw) -> None:
        if note := self.on_value.get(topic):
            note(sender.worker, value)

    def _close(self, number: int) -> None:
        self._silent |= self._questions.pop(number).missing

    def _others(self, sender: _Worker) -> list[_Worker]:
        return [other for other in self._all.values() if other is not sender]

    def _announce(self) -> None:
        for connection in self._all.values():
            connection.send(PeersPresent([other.worker for other in self._others(connection)]))


class _OpenQuestion:
    """A question that not all workers have answered yet."""

    def __init__(
        self, sender: _Worker, number: int, topic: str, workers: set[int], own: list[tuple[int, Raw]]
    ) -> None:
        self.topic = topic
        self._sender = sender
        self._number = number
        self.missing = workers
        """The workers whose answers are missing."""
        self._answers = own
        loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = loop.create_future()
        self._timer = loop.call_later(_REPLY_SECONDS, self._finish)
        if not workers:
            self._finish()

    def answer(self, worker: int, payload: Raw) -> None:
        """Takes a worker's answer."""
        if worker in self.missing:
            self._answers.append((worker, payload))
            self.give_up(worker)

    def give_up(self, worker: int) -> None:
        """Stops waiting for a worker: it will not answer."""
        self.missing.discard(worker)
        if not self.missing:
            self._finish()

    def _finish(self) -> None:
        if not self.done.done():
            self._timer.cancel()
            self.done.set_result(None)
            self._sender.send(PeerReplies(self._number, self._answers))
