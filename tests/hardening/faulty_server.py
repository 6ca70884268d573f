"""A small, slow server that keeps roomcast's contract, and faulty ones that each break it in one way.

An attack must find no fault with the first, and the fault of each of the others.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

Message = dict[str, Any]
_CHANGE = 60
"""Most faulty servers behave well until they have stored this many messages."""


class _ByPrefix(list[str]):
    """All rooms whose names begin with one of the prefixes."""

    def __contains__(self, room: object) -> bool:
        return str(room).startswith(tuple(self))


class Honest:
    """A server in memory that keeps the contract."""

    retained = 40

    def __init__(self) -> None:
        self.epoch = "fake"
        self.newest = self.trimmed = 0
        self.stored: list[Message] = []
        self.gone: list[Message] = []
        """The trimmed messages, for the gaps."""
        self.keys: dict[str, list[Message]] = {}
        self.told = 0
        self._news = asyncio.Condition()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Runs the server, and gives its URL."""
        tasks: set[asyncio.Task[None]] = set()

        async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task
            tasks.add(task)
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._serve(reader, writer)
            writer.transport.abort()
            tasks.discard(task)

        listener = await asyncio.start_server(take, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        finally:
            listener.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks)
            await asyncio.sleep(0)  # so that the transports are closed

    def often(self) -> bool:
        """True now and then. A fault shown to one client only may go unnoticed if its connection is cut."""
        self.told += self.newest >= _CHANGE
        return self.told % 5 == 1

    # The parts that the faulty servers change

    def number(self, count: int) -> list[int]:
        """The seqs of the next `count` messages."""
        return list(range(self.newest + 1, self.newest + count + 1))

    def store(self, message: Message, seq: int) -> Message:
        message = {
            "id": self.id(seq),
            "user": "anonymous",
            "timestamp": f"2026-11-22T06:27:00.{seq:06}Z",
            **message,
        }
        self.newest = seq
        self.stored.append(message)
        return message

    def status(self, messages: Sequence[Message]) -> int:
        """The status of the answer to a publish that was stored."""
        return 201

    def lookup(self, key: str) -> list[Message] | None:
        """The retained messages that were stored under a key."""
        kept = self.keys.get(key)
        return kept if kept and self.seq(kept[0]) > self.trimmed else None

    def given(self, messages: list[Message]) -> list[Message]:
        """Those of `messages` that a stream sends."""
        return messages

    def page(self, messages: list[Message], backwards: bool) -> list[Message]:
        """Those of `messages` that a page contains."""
        return messages

    def lost(self, rooms: Sequence[str], after: int) -> list[Message]:
        """The messages that these rooms have lost."""
        return [message for message in self.gone if message["room"] in rooms and self.seq(message) > after]

    def gap(self, after: str, resumes_at: str | None, lost: Sequence[Message]) -> Any:
        rooms = sorted({message["room"] for message in lost})
        told = {"after": after, "resumes_at": resumes_at, "rooms": rooms}
        return {**told, "lost_at_most": len(lost), "reason": "trimmed"}

    def replayed(self, messages: int) -> int:
        return messages

    # How it works

    def id(self, seq: int) -> str:
        return f"{self.epoch}-{seq}"

    @staticmethod
    def seq(message: Message) -> int:
        return int(message["id"].rpartition("-")[2])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await reader.readexactly(int(fields.get("content-length", "0")))
            target = urlsplit(first.split()[1])
            query: dict[str, Any] = dict(parse_qs(target.query))
            if "prefix" in query:
                query["room"] = _ByPrefix(query["prefix"])
            if first.startswith("POST"):
                await self._publish(writer, json.loads(body), fields.get("idempotency-key", ""))
            elif first.startswith("DELETE") or target.path == "/metrics":
                _answer(writer, 501 if "/messages/" in target.path else 404, {})
            elif target.path == "/rooms":
                _answer(writer, 200, {"rooms": [{"room": "all", "messages": len(self.stored)}]})
            elif fields["accept"] == "application/json":
                _answer(writer, 200, self._page(query))
            else:
                await self._follow(writer, query, fields.get("last-event-id", ""))

    async def _publish(self, writer: asyncio.StreamWriter, posted: Any, key: str) -> None:
        if messages := self.lookup(key):
            _answer(writer, 200, messages if isinstance(posted, list) else messages[0])
            return
        drafts = posted if isinstance(posted, list) else [posted]
        messages = [self.store(draft, seq) for draft, seq in zip(drafts, self.number(len(drafts)), strict=True)]
        while len(self.stored) > self.retained:
            self.gone.append(self.stored.pop(0))
            self.trimmed = self.seq(self.gone[-1])
        if key:
            self.keys[key] = messages
        async with self._news:
            self._news.notify_all()
        _answer(writer, self.status(messages), messages if isinstance(posted, list) else messages[0])

    def _after(self, rooms: Sequence[str], after: int) -> list[Message]:
        return [message for message in self.stored if message["room"] in rooms and self.seq(message) > after]

    def _page(self, query: dict[str, list[str]]) -> Any:
        limit = int(query.get("limit", ["100"])[0])
        after = query.get("after", [""])[0]
        before = int(query.get("before", [f"-{self.newest + 1}"])[0].rpartition("-")[2])
        start = int(after.rpartition("-")[2] or 0)
        found = [message for message in self._after(query["room"], start) if self.seq(message) < before]
        found = self.page(found[:limit] if after else found[-limit:], not after)
        lost = self.lost(query["room"], start) if after else []
        position = found[-1]["id"] if found else self.id(self.newest)
        gap = self.gap(after, found[0]["id"] if found else None, lost) if lost else None
        return {"messages": found, "position": position, "gap": gap}

    async def _follow(self, writer: asyncio.StreamWriter, query: dict[str, list[str]], last_id: str) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        rooms, live, replayed = query["room"], False, 0
        position = (
            int(last_id.rpartition("-")[2]) if last_id else self.newest if "replay" in query else self.trimmed
        )
        while True:
            found = self._after(rooms, position)
            if lost := self.lost(rooms, position):
                reached = self.seq(found[0]) - 1 if found else self.newest
                _send(
                    writer, "gap", self.id(reached), self.gap(last_id or self.id(position), *_first(found), lost)
                )
            for message in self.given(found):
                _send(writer, "", message["id"], message)
                replayed += 1
            position = self.newest
            last_id = self.id(position)
            if not live:
                _send(writer, "live", last_id, {"replayed": self.replayed(replayed)})
                live = True
            await writer.drain()
            async with self._news:
                await self._news.wait_for(lambda: self.newest > position)  # noqa: B023  # it ends here


def _first(messages: Sequence[Message]) -> tuple[str | None]:
    return (messages[0]["id"] if messages else None,)


def _answer(writer: asyncio.StreamWriter, status: int, content: Any) -> None:
    body = json.dumps(content).encode()
    kind = "application/problem+json" if status >= 400 else "application/json"
    head = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
    writer.write(f"{head}\r\nRetry-After: 0\r\n\r\n".encode() + body)


def _send_away(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 12\r\n\r\nretry: 2000\n")


def _send(writer: asyncio.StreamWriter, name: str, id: str, data: Any) -> None:
    event = f"event: {name}\n" if name else ""
    block = f"id: {id}\n{event}data: {json.dumps(data)}\n\n".encode()
    writer.write(b"%x\r\n%b\r\n" % (len(block), block))


class SendsAwayLikeAProxy(Honest):
    """It answers as nginx does with docs/nginx.md while roomcast is away: a whole answer, and the connection
    stays open."""

    async def _follow(self, writer: asyncio.StreamWriter, query: dict[str, list[str]], last_id: str) -> None:
        if self.often():
            _send_away(writer)
        else:
            await super()._follow(writer, query, last_id)


class HasRoomForFew(Honest):
    """It accepts a few followers, and asks all others to come back later."""

    followers = 0

    async def _follow(self, writer: asyncio.StreamWriter, query: dict[str, list[str]], last_id: str) -> None:
        if self.followers == 4:
            _send_away(writer)
            return
        self.followers += 1
        try:
            await super()._follow(writer, query, last_id)
        finally:
            self.followers -= 1


class LosesAcknowledged(Honest):
    def store(self, message: Message, seq: int) -> Message:
        stored = super().store(message, seq)
        if self.often():
            self.stored.remove(stored)
        return stored


class LosesForOneFollower(Honest):
    def given(self, messages: list[Message]) -> list[Message]:
        return messages[1:] if messages and self.often() else messages


class LosesFromHistory(Honest):
    def page(self, messages: list[Message], backwards: bool) -> list[Message]:
        return messages if backwards else messages[:1] + messages[2:]


class LosesFromHistoryBackwards(Honest):
    def page(self, messages: list[Message], backwards: bool) -> list[Message]:
        return messages[:-2] + messages[-1:] if backwards else messages


class Doubles(Honest):
    def given(self, messages: list[Message]) -> list[Message]:
        return [messages[0], *messages] if messages and self.often() else messages


class DoublesAtTheSeam(Honest):
    """A resumed stream begins with the last message that the client has already."""

    resuming = False

    async def _follow(self, writer: asyncio.StreamWriter, query: dict[str, list[str]], last_id: str) -> None:
        self.resuming = bool(last_id)
        await super()._follow(writer, query, last_id)

    def _after(self, rooms: Sequence[str], after: int) -> list[Message]:
        resuming, self.resuming = self.resuming, False
        return super()._after(rooms, after - resuming)


class Reorders(Honest):
    def given(self, messages: list[Message]) -> list[Message]:
        return messages[::-1] if len(messages) > 1 else messages


class TellsAnother(Honest):
    def given(self, messages: list[Message]) -> list[Message]:
        return [{**messages[0], "user": "x"}, *messages[1:]] if messages and self.often() else messages


class TellsOfOtherRooms(Honest):
    def given(self, messages: list[Message]) -> list[Message]:
        return [*messages, {**messages[-1], "room": "x"}] if messages and self.often() else messages


class TellsNoGap(Honest):
    def lost(self, rooms: Sequence[str], after: int) -> list[Message]:
        return []


class TellsAFalseGap(Honest):
    def lost(self, rooms: Sequence[str], after: int) -> list[Message]:
        if after and not super().lost(rooms, after) and self.newest > after + 1 and self.often():
            return [{"room": rooms[0]}]
        return super().lost(rooms, after)


class TellsAGapInAnotherRoom(Honest):
    def gap(self, after: str, resumes_at: str | None, lost: Sequence[Message]) -> Any:
        return {**super().gap(after, resumes_at, lost), "rooms": ["x"]}


class TellsTooSmallAGap(Honest):
    def gap(self, after: str, resumes_at: str | None, lost: Sequence[Message]) -> Any:
        return {**super().gap(after, resumes_at, lost), "lost_at_most": len(lost) - 1}


class TellsTooLargeAGap(Honest):
    def gap(self, after: str, resumes_at: str | None, lost: Sequence[Message]) -> Any:
        return {**super().gap(after, resumes_at, lost), "lost_at_most": 100_000}


class TellsAGapThatEndsElsewhere(Honest):
    def gap(self, after: str, resumes_at: str | None, lost: Sequence[Message]) -> Any:
        return {**super().gap(after, resumes_at, lost), "resumes_at": self.id(self.newest + 1)}


class TellsAGapForWhatIsThere(Honest):
    """Its streams begin with the newest ten messages and a gap, although its history has all messages."""

    retained = 10_000
    paging = False

    def _page(self, query: dict[str, list[str]]) -> Any:
        self.paging = True
        page = super()._page(query)
        self.paging = False
        return page

    def _after(self, rooms: Sequence[str], after: int) -> list[Message]:
        return super()._after(rooms, after if self.paging else max(after, self.newest - 10))

    def lost(self, rooms: Sequence[str], after: int) -> list[Message]:
        kept = super()._after(rooms, after)
        return [] if self.paging else [message for message in kept if self.seq(message) <= self.newest - 10]


class BatchesWithHoles(Honest):
    def number(self, count: int) -> list[int]:
        return [self.newest + 1 + 2 * n for n in range(count)]


class StoresWhatItRefuses(Honest):
    def status(self, messages: Sequence[Message]) -> int:
        return 503 if self.often() else 201


class ForgetsKeys(Honest):
    retained = 10_000

    def lookup(self, key: str) -> list[Message] | None:
        return None


class ChangesTheEpoch(Honest):
    def number(self, count: int) -> list[int]:
        if self.newest >= _CHANGE:
            self.epoch = "other"
        return super().number(count)


class GoesBackInTime(Honest):
    def store(self, message: Message, seq: int) -> Message:
        stored = super().store(message, seq)
        if self.often():
            stored["timestamp"] = "2026-11-21T06:27:00.000000Z"
        return stored


class Stalls(Honest):
    """Its streams stay open, but send nothing more."""

    retained = 10_000

    def given(self, messages: list[Message]) -> list[Message]:
        return [] if self.newest > _CHANGE else messages


class CountsWrong(Honest):
    def replayed(self, messages: int) -> int:
        return messages + 1


class SaysNonsense(Honest):
    def given(self, messages: list[Message]) -> list[Message]:
        return [{"id": "none"}] if messages and self.often() else messages
