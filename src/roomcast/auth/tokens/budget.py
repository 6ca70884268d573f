"""Bounds the time that the server spends on bad signatures.

A token whose only fault is its signature costs 0.1 ms for ES256, so 10,000 a second would take all of the server's
time. That time is counted. When the budget is used up, a token that is not in the cache is answered with "retry
later". Cached tokens are not delayed.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

_SHARE = 0.04
"""Seconds that the budget gains each second."""
_MOST_SECONDS = 0.2
"""Most that the budget can hold. When a secret changes, a fleet sends some thousand well-formed tokens at once."""


class Budget:
    """The time left for verifying bad signatures; `clock` returns seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._left = _MOST_SECONDS
        self._at = clock()

    def is_left(self) -> bool:
        """Whether any time is left."""
        now = self._clock()
        self._left = min(_MOST_SECONDS, self._left + (now - self._at) * _SHARE)
        self._at = now
        return self._left > 0

    def use(self, seconds: float) -> None:
        """Takes `seconds` from the budget, even if fewer are left."""
        self._left -= seconds
