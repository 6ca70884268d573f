"""The body of a request while it is received, with its bounds."""

from __future__ import annotations

from roomcast.http import context as limits
from roomcast.model.errors import Overloaded, TimedOut, TooLarge


class RequestBody:
    """The received part of a body. It is refused as soon as it is known to be too large."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        """Maximum bytes of a body."""
        self._received = bytearray()
        """One buffer: a list of two-byte chunks would take 28 times as much memory."""

    @property
    def held(self) -> int:
        """Bytes received so far."""
        return len(self._received)

    def expect(self, length: bytes) -> None:
        """Checks the `Content-Length`, whose value is `length`. An invalid one is ignored: h11, or the
        host's server, refuses it. Raises `TooLarge`."""
        if length.isdigit() and (len(length) > 18 or int(length) > self._limit):
            raise self._too_large()

    def add(self, data: bytes) -> None:
        """Adds `data`, received bytes. Raises `TooLarge` as soon as all together exceed the limit."""
        self._received += data
        if len(self._received) > self._limit:
            raise self._too_large()

    def whole(self) -> bytes:
        """All bytes received."""
        return bytes(self._received)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body is larger than {self._limit} bytes; send several requests")


def too_slow() -> TimedOut:
    """The error for a body that does not arrive in time."""
    return TimedOut(f"the body took longer than {limits.BODY_SECONDS:.0f} s")


def too_many() -> Overloaded:
    """The error for the slowest body, if all bodies being received take too much memory."""
    return Overloaded("too many requests are being received, and this one came slowest: send it again")
