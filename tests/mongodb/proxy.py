"""A proxy between a driver and its database with the faults of networks and replica sets: it cuts connections,
delays answers, loses answers to writes that happened, and answers with a server's errors.

It knows enough of the wire protocol (OP_MSG, and OP_QUERY for the first greeting) to read a command's name and to
change an answer. A driver has one command at a time on a connection, and each command has one answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import bson

_HEADER = struct.Struct("<iiii")
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_CHECKSUM, _MORE_TO_COME = 1, 2

Document = dict[str, Any]


class Command(NamedTuple):
    """A driver's command."""

    name: str
    body: Mapping[str, Any]

    @property
    def collection(self) -> str:
        return str(self.body.get("collection" if self.name == "getMore" else self.name))


class Fault:
    """A fault for the next `times` commands that match."""

    def __init__(
        self,
        name: str,
        times: int = 1,
        *,
        after: int = 0,
        collection: str = "messages",
        answer: Document | None = None,
        change: Callable[[Document], Document] | None = None,
        cut: bool = False,
        lose: bool = False,
        delay: float = 0.0,
        until: asyncio.Event | None = None,
    ) -> None:
        """`after`: how many matching commands pass first. `answer` replaces the server's answer, `change` modifies
        it. `cut` closes the connection before the server sees the command, `lose` after the server has run it.
        `delay`: seconds before the command is passed on; `until`: it is passed on when this is set."""
        self.name = name
        self.times = times
        self.after = after
        self.collection = collection
        self.answer = answer
        self.change = change
        self.cut = cut
        self.lose = lose
        self.delay = delay
        self.until = until
        self.met = asyncio.Event()

    def takes(self, command: Command) -> bool:
        if command.name != self.name or not self.times:
            return False
        if self.collection not in ("*", command.collection):
            return False
        if self.after:
            self.after -= 1
            return False
        self.times -= 1
        self.met.set()
        return True


def error(code: int, name: str, **more: Any) -> Document:
    """A server's answer that refuses a command."""
    return {"ok": 0.0, "code": code, "codeName": name, "errmsg": f"{name}, says the proxy", **more}


class Proxy:
    """One proxy, on a free port."""

    def __init__(self, upstream: tuple[str, int], tls: ssl.SSLContext | None = None) -> None:
        """`upstream`: the database's host and port. `tls`: the proxy's own TLS towards drivers."""
        self._upstream = upstream
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.faults: list[Fault] = []
        self.commands: Counter[tuple[str, str]] = Counter()
        """How many commands came, by name and collection."""
        self.port = 0

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        self._server.close()
        self.cut()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def inject(self, *args: Any, **kwargs: Any) -> Fault:
        self.faults.append(Fault(*args, **kwargs))
        return self.faults[-1]

    def cut(self) -> None:
        """Ends every connection."""
        for task in self._connections:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._connections.add(task)
        try:
            async with contextlib.AsyncExitStack() as stack:
                stack.callback(writer.close)
                up_reader, up_writer = await asyncio.open_connection(*self._upstream)
                stack.callback(up_writer.close)
                while await self._exchange(reader, writer, up_reader, up_writer):
                    pass
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> bool:
        """Passes one command and its answer on. Returns whether the connection stays open."""
        request = await _message(reader)
        command = _command(request)
        self.commands[command.name, command.collection] += 1
        fault = next((fault for fault in self.faults if fault.takes(command)), None)
        if fault and fault.delay:
            await asyncio.sleep(fault.delay)
        if fault and fault.until:
            await fault.until.wait()
        if fault and fault.cut:
            return False
        if fault and fault.answer is not None:
            writer.write(_answer(request, fault.answer))
            return True
        up_writer.write(request)
        if _flags(request) & _MORE_TO_COME:
            return True
        answer = await _message(up_reader)
        if fault and fault.lose:
            return False
        if fault and fault.change:
            answer = _answer(request, fault.change(_body(answer)))
        writer.write(answer)
        await writer.drain()
        return True


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(16)
    return head + await reader.readexactly(_HEADER.unpack(head)[0] - 16)


def _flags(message: bytes) -> int:
    return int.from_bytes(message[16:20], "little") if _code(message) == _OP_MSG else 0


def _code(message: bytes) -> int:
    return int(_HEADER.unpack(message[:16])[3])


def _command(message: bytes) -> Command:
    body = _body(message)
    return Command(next(iter(body)), body)


def _body(message: bytes) -> Document:
    """The document of a command or an answer; ignores a list of documents beside it."""
    code = _code(message)
    if code == _OP_MSG:
        start = 20
        while message[start] != 0:  # a section of another kind, which begins with its size
            start += 1 + int.from_bytes(message[start + 1 : start + 5], "little")
        start += 1
    elif code == _OP_QUERY:
        start = message.index(b"\0", 20) + 1 + 8
    else:
        start = 36
    size = int.from_bytes(message[start : start + 4], "little")
    return dict(bson.decode(message[start : start + size]))


def _answer(request: bytes, document: Document) -> bytes:
    answered = _HEADER.unpack(request[:16])[1]
    if _code(request) == _OP_QUERY:
        rest, code = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(document), _OP_REPLY
    else:
        rest, code = struct.pack("<i", 0) + b"\0" + bson.encode(document), _OP_MSG
    return _HEADER.pack(16 + len(rest), 0, answered, code) + rest
