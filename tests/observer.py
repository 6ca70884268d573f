"""A follower that shares no code with the server: it reads HTTP/1 and SSE from a socket by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from tests.certificate import connect
from tests.running import PATIENCE


class Event(NamedTuple):
    """One dispatched event; at the end of a stream, the incomplete one."""

    id: str
    name: str
    data: str

    @property
    def json(self) -> Any:
        return json.loads(self.data)


class Observer:
    """One connection to an event stream."""

    def __init__(
        self,
        port: int,
        target: str,
        *,
        version: str = "1.1",
        headers: dict[str, str] | None = None,
        receive_buffer: int | None = None,
        method: str = "GET",
    ) -> None:
        self.socket = connect(port, receive_buffer)
        self._be_patient()
        lines = [f"{method} {target} HTTP/{version}", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self._received = b""
        self.retry: int | None = None
        self.last_id = ""
        self.comments = 0
        self.clean_end = False
        """Whether the server ended the stream, instead of cutting the connection."""
        self.leftover: list[str] = []
        """Lines after the last complete block."""
        self._read_head()
        self._lines = self._decoded_lines()

    def _be_patient(self) -> None:
        """Limits the next reads together to `PATIENCE`. With a limit for each read, heartbeats would let a test
        wait for ever for an event that never comes."""
        self.socket.settimeout(PATIENCE)
        self._end = time.monotonic() + PATIENCE

    def _more(self) -> bool:
        self.socket.settimeout(max(0.001, self._end - time.monotonic()))
        data = self.socket.recv(65536)
        self._received += data
        return bool(data)

    def _read_head(self) -> None:
        while b"\r\n\r\n" not in self._received:
            assert self._more(), f"no head: {self._received!r}"
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        status, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {n.strip().lower(): v.strip() for n, _, v in (f.partition(":") for f in fields)}

    def _chunks(self) -> Iterator[bytes]:
        if self.headers.get("transfer-encoding") == "chunked":
            yield from self._unchunked()
            return
        left = int(self.headers.get("content-length", 1 << 60))
        while left > 0 and (self._received or self._more()):
            data, self._received = self._received[:left], self._received[left:]
            left -= len(data)
            yield data
        self.clean_end = True

    def _unchunked(self) -> Iterator[bytes]:
        while True:
            while b"\r\n" not in self._received:
                if not self._more():
                    return
            size, _, self._received = self._received.partition(b"\r\n")
            wanted = int(size, 16) + 2
            while len(self._received) < wanted:
                if not self._more():
                    return
            data, self._received = self._received[: wanted - 2], self._received[wanted:]
            if not data:
                self.clean_end = True
                return
            yield data

    def _decoded_lines(self) -> Iterator[str]:
        rest = b""
        for data in self._chunks():
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line.decode()
        if rest:
            yield rest.decode()

    def __iter__(self) -> Iterator[Event]:
        while (event := self.next_or_end()) is not None:
            yield event

    def next(self) -> Event:
        event = self.next_or_end()
        assert event is not None, "the stream ended"
        return event

    def next_or_end(self) -> Event | None:
        """The next event; None at the end of the stream."""
        self._be_patient()
        name = ""
        data: list[str] = []
        block: list[str] = []
        for line in self._lines:
            if not line:
                assert data, f"a block without data: {block}"
                return Event(self.last_id, name or "message", "\n".join(data))
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if not field:
                self.comments += 1
                continue
            block.append(line)
            match field:
                case "id":
                    self.last_id = value
                case "event":
                    name = value
                case "data":
                    data.append(value)
                case "retry":
                    self.retry = int(value)
        self.leftover = block
        return None

    def until_live(self) -> list[Event]:
        """The events up to and including `live`."""
        events = []
        while True:
            events.append(self.next())
            if events[-1].name == "live":
                return events

    def texts(self, count: int) -> list[str]:
        """The texts of the next `count` messages."""
        return [self.next().json["text"] for _ in range(count)]

    def next_row(self) -> Any:
        """The next line of NDJSON that is no heartbeat; None at the end of the stream."""
        self._be_patient()
        return next((json.loads(line) for line in self._lines if line), None)

    def wait_for_heartbeats(self, count: int) -> None:
        """Reads lines until `comments` is `count`. A heartbeat has no blank line after it."""
        while self.comments < count:
            self._be_patient()
            line = next(self._lines)
            assert line.startswith(":"), line
            self.comments += 1

    def cut(self) -> None:
        """Closes the connection."""
        self.socket.close()

    def __enter__(self) -> Observer:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
