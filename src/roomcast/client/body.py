"""The body of an answer, read up to a bound: a server, or what stands before it, may send without end.

Nothing is decompressed: 64 KiB of gzip become 64 MiB, and httpx decodes several encodings on top of each other.
Requests ask for `identity`, and an answer in anything else is refused.
"""

from __future__ import annotations

import httpx

from roomcast.client.errors import Refused, TooMuch, shown

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes: a page of 1,000 messages, each as large as one may be."""


class Body:
    """What has come of one answer."""

    def __init__(self, response: httpx.Response, most: int) -> None:
        self._response = response
        self._most = most
        self._pieces: list[bytes] = []
        self._held = 0

    def takes(self, data: bytes) -> bool:
        """Adds a piece; whether another may follow."""
        self._pieces.append(data)
        self._held += len(data)
        return self._held <= self._most

    @property
    def content(self) -> bytes:
        """At most `most` bytes, and the rest of the piece that passed them."""
        return b"".join(self._pieces)

    def whole(self) -> bytes:
        """Raises `TooMuch` where it was more than the bound."""
        if self._held > self._most:
            raise TooMuch(
                f"{shown(self._response.request.url)} answered with more than {self._most:,} bytes: ask for less "
                "(limit), or allow for it with max_answer",
                self._response.status_code,
            )
        return self.content


def read(response: httpx.Response, most: int) -> Body:
    """Reads until the end, or until the bound (in bytes) is passed."""
    body = Body(response, most)
    for data in response.iter_bytes():
        if not body.takes(data):
            break
    return body


async def aread(response: httpx.Response, most: int) -> Body:
    """`read` for an event loop."""
    body = Body(response, most)
    async for data in response.aiter_bytes():
        if not body.takes(data):
            break
    return body


def check_encoding(response: httpx.Response) -> None:
    """Raises `Refused` where the body is compressed."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Refused(
            f"{shown(response.url)} answered in the encoding {encoding[:100]!r}, which was not asked for",
            response.status_code,
        )
