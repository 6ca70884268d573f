"""Bytes of a stream: server-sent events (WHATWG HTML, section 9.2) and NDJSON, chunked or raw.

A wire is a format in a framing, and there are four. Every block has data, since clients such as httpx-sse take a
block without data for an empty message. A comment has no blank line after it: the blank line would dispatch an
event, and some clients then forget their position.
"""

from __future__ import annotations

from roomcast.model.message import Message, MessageId, as_json

RETRY_MS = 3_000
"""How long a client waits before it reconnects, unless it is told otherwise."""
END = "roomcast.end"
"""The last event of a stream whose client must not come back with the same credential. It says why."""


class EventStream:
    """`text/event-stream`."""

    content_type = "text/event-stream"
    heartbeat = b":\n"

    @staticmethod
    def message(epoch: str, message: Message) -> bytes:
        """A message as a block. `epoch` is the log's, for the id."""
        event = b"" if message.type is None else b"event: %b\n" % message.type.encode()
        return b"id: %b-%d\n%bdata: %b\n\n" % (epoch.encode(), message.seq, event, as_json(epoch, message))

    @staticmethod
    def event(name: str, position: MessageId, data: bytes) -> bytes:
        """One of the stream's own events as a block. `name` is its type, `position` its id, `data` one line of
        JSON."""
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (str(position).encode(), name.encode(), data)

    @staticmethod
    def retry(ms: int) -> bytes:
        """The delay in ms before the client reconnects, as a line."""
        return b"retry: %d\n" % ms


class Lines:
    """`application/x-ndjson`: the stream as one JSON object a line."""

    content_type = "application/x-ndjson"
    heartbeat = b"\n"

    @staticmethod
    def message(epoch: str, message: Message) -> bytes:
        """A message as a line. `epoch` is the log's, for the id."""
        data = as_json(epoch, message)
        return b'{"event":"message","id":"%b-%d","data":%b}\n' % (epoch.encode(), message.seq, data)

    @staticmethod
    def event(name: str, position: MessageId, data: bytes) -> bytes:
        """One of the stream's own events as a line. `name` is its type, `position` its id, `data` one line of
        JSON."""
        # NDJSON does not need the prefix: `event` never holds a message's type.
        name = name.removeprefix("roomcast.")
        return b'{"event":"%b","id":"%b","data":%b}\n' % (name.encode(), str(position).encode(), data)

    @staticmethod
    def retry(ms: int) -> bytes:
        """The delay in ms before the client reconnects, as a line."""
        return b'{"event":"retry","id":null,"data":%d}\n' % ms


Format = EventStream | Lines


class Wire:
    """A format in a framing: HTTP/1.1's chunks (RFC 9112, section 7.1), or bytes as they are."""

    __slots__ = ("chunked", "end", "format", "heartbeat", "index")

    def __init__(self, index: int, format: Format, chunked: bool) -> None:
        self.index = index
        """Its index in `WIRES`."""
        self.format = format
        self.chunked = chunked
        self.heartbeat = self.framed(format.heartbeat)
        self.end = b"0\r\n\r\n" if chunked else b""
        """The bytes that end the response."""

    def framed(self, data: bytes) -> bytes:
        """`data`, bytes of the format, in the framing of this wire."""
        return b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data

    def message(self, epoch: str, message: Message) -> bytes:
        """A message in its format, framed. `epoch` is the log's, for the id."""
        return self.framed(self.format.message(epoch, message))

    def event(self, name: str, position: MessageId, data: bytes) -> bytes:
        """One of the stream's own events, framed; `name`, `position` and `data` are as in `EventStream.event`."""
        return self.framed(self.format.event(name, position, data))

    def retry(self, ms: int) -> bytes:
        """The delay in ms before the client reconnects, framed."""
        return self.framed(self.format.retry(ms))


WIRES = (
    Wire(0, EventStream(), True),
    Wire(1, EventStream(), False),
    Wire(2, Lines(), True),
    Wire(3, Lines(), False),
)
_BY_NAME = {(wire.format.content_type, wire.chunked): wire for wire in WIRES}


def wire(content_type: str, *, chunked: bool) -> Wire:
    """The wire for `content_type`, that of one of the two formats. `chunked`: whether HTTP/1.1's chunks frame it.
    Raises `KeyError` for any other type."""
    return _BY_NAME[content_type, chunked]
