"""The memory that all answers share: those being built, and those waiting to be taken by their clients.

The attack: 400 requests of 82 bytes for pages of 5 MB, hung up at once, and the kernel killed a server in 512 MB.
Answers that are not taken add up, too: 64 KiB each, over all the connections that a process may have.
"""

from __future__ import annotations

from roomcast.model.errors import Overloaded

SMALL_BYTES = 16 * 1024
"""An answer of this size is counted only when its client does not take it. So health, readiness and the metrics
are answered when there is no memory left for others."""
READERS_SHARE = 0.75
"""How much of the budget answers to readers may take. The rest is for publishers and followers, so that pages that
nobody takes do not shut them out."""


class Budget:
    """Bytes that may be held at once."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0
        self.refused = 0
        self._shared: dict[int, _Shared] = {}
        """What waits for followers, by its identity."""

    def reserve(self, size: int = 0, share: float = 1.0) -> Reservation:
        """So many bytes, to be added to within this share of the budget. Raises `Overloaded`."""
        reservation = Reservation(self, share)
        reservation.add(size)
        return reservation

    def has(self, size: int, share: float = 1.0, own: int = 0) -> bool:
        """Whether so many bytes may be held by who holds `own` bytes already. One answer alone always may."""
        return self.held == own or self.held + size <= self.limit * share

    def take(self, size: int, share: float = 1.0, own: int = 0) -> None:
        """Raises `Overloaded` where too much is held already."""
        if not self.has(size, share, own):
            self.refused += 1
            raise Overloaded("too many large answers are on their way: ask again, or for a smaller page")
        self.held += size

    def free(self, size: int) -> None:
        """What was taken is held no longer."""
        self.held -= size

    def hold(self, data: bytes) -> None:
        """The same bytes wait for one more follower: they count once, as they are in memory once. Raises
        `Overloaded`."""
        shared = self._shared.get(id(data))
        if shared is None:
            self.take(len(data))
            shared = self._shared[id(data)] = _Shared(data)
        shared.holders += 1

    def drop(self, data: bytes) -> None:
        """One follower fewer waits for them."""
        shared = self._shared[id(data)]
        shared.holders -= 1
        if not shared.holders:
            del self._shared[id(data)]
            self.free(len(data))


class _Shared:
    """Bytes that wait for followers."""

    __slots__ = ("data", "holders")

    def __init__(self, data: bytes) -> None:
        self.data = data
        """Kept, so that no other bytes have its identity."""
        self.holders = 0


class Reservation:
    """What one answer holds. Its user gives it back; an answer that was never begun does so when it is
    dropped."""

    __slots__ = ("_budget", "_share", "size")

    def __init__(self, budget: Budget, share: float) -> None:
        self._budget = budget
        self._share = share
        self.size = 0
        """Bytes that are held."""

    def add(self, size: int) -> None:
        """So many bytes more. Raises `Overloaded`."""
        self._budget.take(size, self._share, self.size)
        self.size += size

    def release(self) -> None:
        """Gives it back; a second time is fine."""
        self._budget.free(self.size)
        self.size = 0

    def __del__(self) -> None:
        self.release()
