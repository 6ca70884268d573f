"""A body on its way in, with its bounds."""

from __future__ import annotations

from roomcast.http import context as limits
from roomcast.model.errors import TimedOut, TooLarge


class Body:
    """What was received of a body. It is refused as soon as it is known to be too large."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        """Bytes it may have."""
        self._pieces: list[bytes] = []
        self._size = 0

    def expect(self, length: bytes) -> None:
        """Its length as its head says. Raises `TooLarge`."""
        if length.isdigit() and (len(length) > 18 or int(length) > self._limit):
            raise self._too_large()

    def add(self, data: bytes) -> None:
        """A piece. Raises `TooLarge`."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > self._limit:
            raise self._too_large()

    def whole(self) -> bytes:
        """All of it."""
        return b"".join(self._pieces)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._limit} bytes; send several requests")


def too_slow() -> TimedOut:
    """The error of a body that does not come."""
    return TimedOut(f"the body took longer than {limits.BODY_SECONDS:.0f} s")
