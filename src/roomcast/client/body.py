"""The bound of an answer's body: a faulty server, or a proxy in front of it, might send without end.

Nothing is decompressed: 64 KiB of gzip can become 64 MiB, and httpx decodes several encodings on top of each
other. Requests ask for `identity`, and an answer in any other encoding is refused.
"""

from __future__ import annotations

import httpx

from roomcast.client.errors import Refused, TooMuch, without_password

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes: a page of 1,000 messages, each of the maximum size that servers have by default."""


class BoundedBody:
    """The part of an answer's body that has been read."""

    def __init__(self, response: httpx.Response, max_bytes: int) -> None:
        self._response = response
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> bool:
        """Adds the next piece, `data`. Returns whether the bound allows another one."""
        self._pieces.append(data)
        self._size += len(data)
        return self._size <= self._max_bytes

    @property
    def content(self) -> bytes:
        """The bytes read so far: at most `max_bytes`, plus the rest of the piece that exceeded them."""
        return b"".join(self._pieces)

    def whole(self) -> bytes:
        """The whole body. Raises `TooMuch` if it exceeds the bound."""
        if self._size > self._max_bytes:
            url = without_password(self._response.request.url)
            raise TooMuch(
                f"{url} answered with more than {self._max_bytes:,} bytes: "
                "ask for less (limit), or raise max_answer",
                self._response.status_code,
            )
        return self.content


def check_encoding(response: httpx.Response) -> None:
    """Raises `Refused` if the body of `response` is compressed."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Refused(
            f"{without_password(response.url)} answered in the encoding {encoding[:100]!r}, which was not asked "
            "for: switch compression off in the proxy before the server",
            response.status_code,
        )
