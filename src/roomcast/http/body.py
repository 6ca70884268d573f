"""A body on its way in, with its bounds."""

from __future__ import annotations

from roomcast.http import context as limits
from roomcast.model.errors import Overloaded, TimedOut, TooLarge


class Body:
    """What was received of a body. It is refused as soon as it is known to be too large."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        """Bytes it may have."""
        self._received = bytearray()
        """One piece: a list of chunks of two bytes would take 28 times their memory."""

    @property
    def held(self) -> int:
        """Bytes received so far."""
        return len(self._received)

    def expect(self, length: bytes) -> None:
        """Its length as its head says. Raises `TooLarge`."""
        if length.isdigit() and (len(length) > 18 or int(length) > self._limit):
            raise self._too_large()

    def add(self, data: bytes) -> None:
        """A piece. Raises `TooLarge`."""
        self._received += data
        if len(self._received) > self._limit:
            raise self._too_large()

    def whole(self) -> bytes:
        """All of it."""
        return bytes(self._received)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._limit} bytes; send several requests")


def too_slow() -> TimedOut:
    """The error of a body that does not come."""
    return TimedOut(f"the body took longer than {limits.BODY_SECONDS:.0f} s")


def too_many() -> Overloaded:
    """The error of the body that came slowest, where all that are being received take too much memory."""
    return Overloaded("too many requests are being received, and this one came slowest: send it again")
