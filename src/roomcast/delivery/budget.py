"""The memory that all answers share: answers that are being built, and answers that their clients have yet to
take.

The attack: 400 requests of 82 bytes asked for pages of 5 MB and hung up at once; the kernel killed a server with
512 MB. Answers that clients do not take add up as well: 64 KiB for each connection that a process may have.
"""

from __future__ import annotations

from roomcast.model.errors import Overloaded

SMALL_BYTES = 16 * 1024
"""A smaller answer is counted only while its client does not take it. So health, readiness and errors are answered
even when the budget is used up, as are metrics of any size."""
READERS_SHARE = 0.75
"""The part of the budget that answers to readers may take. Publishers and followers have the rest, so that pages
that nobody takes do not shut them out."""


class Budget:
    """Counts the bytes that are held, and bounds them."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        """Bytes that are held now."""
        self.refused = 0
        """How many reservations were refused."""
        self._shared: dict[int, _Shared] = {}
        """Bytes that wait for followers, by the identity of their object."""

    def reserve(self, size: int = 0, share: float = 1.0) -> Reservation:
        """Reserves `size` bytes; more may be added later. `share` is the part of the budget, up to 1, that may be
        held afterwards. Raises `Overloaded`."""
        reservation = Reservation(self, share)
        reservation.add(size)
        return reservation

    def allows(self, size: int, share: float = 1.0, own: int = 0) -> bool:
        """Whether `size` more bytes may be held, within this `share` of the budget. An answer may always take more
        if the `own` bytes that it holds are the only ones held."""
        return self.used == own or self.used + size <= self.limit * share

    def take(self, size: int, share: float = 1.0, own: int = 0) -> None:
        """Counts `size` more bytes; `share` and `own` are as in `allows`. Raises `Overloaded` if too many are
        held."""
        if not self.allows(size, share, own):
            self.refused += 1
            raise Overloaded("too many large answers are on their way: ask again later, or for a smaller page")
        self.used += size

    def free(self, size: int) -> None:
        """Counts `size` fewer bytes."""
        self.used -= size

    def hold(self, data: bytes) -> None:
        """Notes that `data` waits for one more follower. The same object counts once, as it is in memory once.
        Raises `Overloaded`."""
        shared = self._shared.get(id(data))
        if shared is None:
            self.take(len(data))
            shared = self._shared[id(data)] = _Shared(data)
        shared.holders += 1

    def drop(self, data: bytes) -> None:
        """Notes that `data` waits for one follower fewer."""
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
        """Kept, so that no other object gets its identity."""
        self.holders = 0


class Reservation:
    """The bytes that one answer holds. Its user releases them; so does its destructor, for an answer that was
    never begun."""

    __slots__ = ("_budget", "_share", "size")

    def __init__(self, budget: Budget, share: float) -> None:
        self._budget = budget
        self._share = share
        self.size = 0
        """Bytes that are held."""

    def add(self, size: int) -> None:
        """Reserves `size` more bytes. Raises `Overloaded`."""
        self._budget.take(size, self._share, self.size)
        self.size += size

    def release(self) -> None:
        """Releases all of them. May be called again."""
        self._budget.free(self.size)
        self.size = 0

    def __del__(self) -> None:
        self.release()
