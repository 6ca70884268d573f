"""The memory that all answers share: those being built, and those waiting to be taken by their clients.

The attack: 400 requests of 82 bytes for pages of 5 MB, hung up at once, and the kernel killed a server in 512 MB.
"""

from __future__ import annotations

from roomcast.model.errors import Overloaded


class Budget:
    """Bytes that may be held at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0
        self.refused = 0

    def reserve(self) -> Reservation:
        """Nothing yet, to be added to."""
        return Reservation(self)

    def take(self, size: int) -> None:
        """Raises `Overloaded` where too much is held already. One answer alone is always built."""
        if self.held and self.held + size > self._limit:
            self.refused += 1
            raise Overloaded("too many large answers are on their way: ask again, or for a smaller page")
        self.held += size

    def free(self, size: int) -> None:
        """What was taken is held no longer."""
        self.held -= size


class Reservation:
    """What one answer holds. Its user gives it back; an answer that was never begun does so when it is
    dropped."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.size = 0
        """Bytes that are held."""

    def add(self, size: int) -> None:
        """So many bytes more. Raises `Overloaded`."""
        self._budget.take(size)
        self.size += size

    def release(self) -> None:
        """Gives it back; a second time is fine."""
        self._budget.free(self.size)
        self.size = 0

    def __del__(self) -> None:
        self.release()
