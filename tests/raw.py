"""HTTP/1.1 by hand: sends the bytes that a test wrote, and reads the answers one by one."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from tests.certificate import connect
from tests.running import PATIENCE


class Answer(NamedTuple):
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Raw:
    """One connection."""

    def __init__(self, port: int, data: bytes = b"") -> None:
        self.socket = connect(port)
        self._received = b""
        self._be_patient()
        self.send(data)

    def send(self, data: bytes) -> None:
        self.socket.settimeout(PATIENCE)
        self.socket.sendall(data)

    def end(self) -> None:
        """Half-closes the TCP connection: nothing more is sent, but answers are read. Below TLS, which would
        end otherwise."""
        socket.socket.shutdown(self.socket, socket.SHUT_WR)

    def answer(self, *, to_head: bool = False) -> Answer:
        """The next response; of a stream only the head. `to_head`: reads only the head."""
        self._be_patient()
        head = self._until(b"\r\n\r\n").decode("latin-1")
        first, *fields = head.split("\r\n")
        headers = {name.strip().lower(): value.strip() for name, _, value in (f.partition(":") for f in fields)}
        length = 0 if to_head else int(headers.get("content-length", 0))
        while len(self._received) < length:
            assert self._more(), f"cut: {head} {self._received!r}"
        body, self._received = self._received[:length], self._received[length:]
        return Answer(int(first.split()[1]), headers, body)

    def rest(self) -> bytes:
        """All bytes until the server closes or resets the connection."""
        self._be_patient()
        try:
            while self._more():
                pass
        except BrokenPipeError:
            _forget_tls_errors()
        except ConnectionError:
            pass
        return self._received

    def until(self, mark: bytes) -> bytes:
        """The bytes up to and including a mark."""
        self._be_patient()
        return self._until(mark) + mark

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._received:
            assert self._more(), f"no {mark!r} in {self._received!r}"
        found, _, self._received = self._received.partition(mark)
        return found

    def _be_patient(self) -> None:
        """Limits the next reads together to `PATIENCE`, as in `Observer`."""
        self._end = time.monotonic() + PATIENCE

    def _more(self) -> bool:
        self.socket.settimeout(max(0.001, self._end - time.monotonic()))
        data = self.socket.recv(65536)
        self._received += data
        return bool(data)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def _forget_tls_errors() -> None:
    """Clears OpenSSL's queue of errors for this thread. OpenSSL 3.5 answers the end of a connection, which
    fails if the socket is half-closed. CPython 3.13 raises that error and leaves it in the queue, so that the
    next call would fail, on any connection."""
    with contextlib.suppress(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers("none")  # clears the queue


def ask(port: int, data: bytes) -> Answer:
    """Sends one request on a new connection; returns its answer."""
    with Raw(port, data) as connection:
        return connection.answer()


def ask_at_once(port: int, requests: Sequence[bytes]) -> list[Answer]:
    """Sends each request on its own connection, and the last byte of all of them at the same moment."""
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(Raw(port, data[:-1])) for data in requests]
        for connection, data in zip(connections, requests, strict=True):
            connection.send(data[-1:])
        return [connection.answer() for connection in connections]


def request(method: str, target: str, *fields: str, body: bytes | None = None) -> bytes:
    """The bytes of a request. With a body it has a Content-Length."""
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *length, *fields, "", ""]
    return "\r\n".join(lines).encode() + (body or b"")


JSON = "Content-Type: application/json"


def post(body: bytes, *fields: str) -> bytes:
    return request("POST", "/messages", JSON, *fields, body=body)
