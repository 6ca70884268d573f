"""What the HTTP protocol and `direct` have to do with each other, for requests that do not go through ASGI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from roomcast.server.connection import SocketConnection
from roomcast.server.publish import Envelope

Head = Mapping[bytes, bytes]
"""A request's header fields, none of them given twice."""


class Begun(Protocol):
    """A stream that only needs its connection."""

    def begin(self, connection: SocketConnection, *, chunked: bool) -> None:
        """It has it."""
        ...


class Direct(Protocol):
    """What an application may offer beside ASGI, for its hot routes."""

    def follow(self, query_string: bytes, head: Head, client: str) -> Begun | None:
        """The stream that is asked for; None where that takes more than a look into memory."""
        ...

    def seal(self, head: Head) -> Envelope | None:
        """What the headers of a publish say of its body; None where it is not plain."""
        ...

    async def publish(self, sealed: Envelope, head: Head, body: bytes, client: str, date: bytes) -> bytes:
        """The whole answer to a publish; `date` is more lines for its head."""
        ...


class Exchange:
    """A publish under way without ASGI: as much of uvicorn's cycle as its protocol asks for."""

    __slots__ = ("body", "disconnected", "head", "keep_alive", "more_body", "response_complete", "sealed")

    def __init__(self, sealed: Envelope, head: Head, keep_alive: bool) -> None:
        self.sealed = sealed
        self.head = head
        self.keep_alive = keep_alive
        self.body = bytearray()
        self.more_body = True
        self.disconnected = False
        self.response_complete = False

    @property
    def message_event(self) -> Exchange:
        """Nobody waits for the body piece by piece."""
        return self

    def set(self) -> None:
        """The event's."""
