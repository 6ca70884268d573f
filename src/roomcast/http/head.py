"""The head of a request, parsed by httptools once for all requests that begin with the same bytes.

Who publishes over a connection that is kept sends the same head each time, and a crowd that comes in differs in
nothing but its body, if that. To parse a head is a sixth of a publish, and a parser half of the memory of a
connection that waits for its next request.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import httptools

END = b"\r\n\r\n"
_UNUSUAL = frozenset({b"expect", b"transfer-encoding", b"upgrade"})


class Head(NamedTuple):
    """A head that leaves nothing to be decided: HTTP/1.1, one host, no field twice, and how long the body is."""

    method: bytes
    target: bytes
    fields: Mapping[bytes, bytes]
    """By name in lower case."""
    keep_alive: bool

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return int(self.fields.get(b"content-length", b"0"))


def parse(data: bytes) -> Head | None:
    """From the request line up to and with the blank line; None where it is not plain, or not HTTP."""
    parsing = _Parsing()
    try:
        parsing.parser.feed_data(data)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    finally:
        del parsing.parser  # they know each other
    return parsing.head if parsing.head and _UNUSUAL.isdisjoint(parsing.fields) else None


class _Parsing:
    """httptools' callbacks."""

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.target = b""
        self.fields: dict[bytes, bytes] = {}
        self.plain = True
        self.head: Head | None = None

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name in self.fields:
            self.plain = False
        self.fields[name] = value

    def on_headers_complete(self) -> None:
        parser = self.parser
        if self.plain and b"host" in self.fields and parser.get_http_version() == "1.1":
            keep_alive = parser.should_keep_alive()  # forgotten when the message is complete
            self.head = Head(parser.get_method(), self.target, self.fields, keep_alive)
