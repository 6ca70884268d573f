"""Bytes of a stream: server-sent events (WHATWG HTML, section 9.2) and NDJSON, chunked or raw.

A `Wire` is a format and a framing, and there are four. No block is ever without data (clients such as
httpx-sse take one for an empty message), and a comment is never followed by a blank line, which would
dispatch: in some clients that erases the position.
"""

from __future__ import annotations

from roomcast.model.message import Message, MessageId, as_json

RETRY_MS = 3_000
"""What a client is told to wait before it reconnects."""


END = "roomcast.end"
"""Tells why a stream ends, where coming back as before would be of no use."""


class EventStream:
    """`text/event-stream`."""

    content_type = "text/event-stream"
    heartbeat = b":\n"

    @staticmethod
    def message(epoch: str, message: Message) -> bytes:
        event = b"" if message.type is None else b"event: %b\n" % message.type.encode()
        return b"id: %b-%d\n%bdata: %b\n\n" % (epoch.encode(), message.seq, event, as_json(epoch, message))

    @staticmethod
    def event(name: str, position: MessageId, data: bytes) -> bytes:
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (str(position).encode(), name.encode(), data)

    @staticmethod
    def retry(ms: int) -> bytes:
        return b"retry: %d\n" % ms


class Lines:
    """`application/x-ndjson`: the stream as one JSON object a line."""

    content_type = "application/x-ndjson"
    heartbeat = b"\n"

    @staticmethod
    def message(epoch: str, message: Message) -> bytes:
        data = as_json(epoch, message)
        return b'{"event":"message","id":"%b-%d","data":%b}\n' % (epoch.encode(), message.seq, data)

    @staticmethod
    def event(name: str, position: MessageId, data: bytes) -> bytes:
        name = name.removeprefix("roomcast.")  # its lines have names of their own: no message's type is one
        return b'{"event":"%b","id":"%b","data":%b}\n' % (name.encode(), str(position).encode(), data)

    @staticmethod
    def retry(ms: int) -> bytes:
        return b'{"event":"retry","id":null,"data":%d}\n' % ms


Format = EventStream | Lines


class Wire:
    """A format in a framing: HTTP/1.1's chunks (RFC 9112, section 7.1), or bytes as they are."""

    __slots__ = ("chunked", "end", "format", "heartbeat", "index")

    def __init__(self, index: int, format: Format, chunked: bool) -> None:
        self.index = index
        self.format = format
        self.chunked = chunked
        self.heartbeat = self.framed(format.heartbeat)
        self.end = b"0\r\n\r\n" if chunked else b""

    def framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data

    def message(self, epoch: str, message: Message) -> bytes:
        return self.framed(self.format.message(epoch, message))

    def event(self, name: str, position: MessageId, data: bytes) -> bytes:
        return self.framed(self.format.event(name, position, data))

    def retry(self, ms: int) -> bytes:
        return self.framed(self.format.retry(ms))


WIRES = (
    Wire(0, EventStream(), True),
    Wire(1, EventStream(), False),
    Wire(2, Lines(), True),
    Wire(3, Lines(), False),
)


_BY_NAME = {(wire.format.content_type, wire.chunked): wire for wire in WIRES}


def wire(content_type: str, *, chunked: bool) -> Wire:
    """The wire for a content type."""
    return _BY_NAME[content_type, chunked]
