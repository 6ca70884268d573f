"""How much of the server's time goes into signatures that turn out to be bad.

A token that is good but for its signature makes the server compute: 0.1 ms for ES256, so that 10,000 in a second
would take all of its time. The time is counted. When it is used up, tokens that were not seen before are answered
with "come back". Those that are known are not held up.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

_SHARE = 0.04
"""Seconds in each second."""
_MOST_SECONDS = 0.2
"""How much can be saved: some thousand good-looking tokens of a fleet whose secret was changed come at once."""


class Budget:
    """Time that is left."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._left = _MOST_SECONDS
        self._at = clock()

    def is_left(self) -> bool:
        """Whether there is any."""
        now = self._clock()
        self._left = min(_MOST_SECONDS, self._left + (now - self._at) * _SHARE)
        self._at = now
        return self._left > 0

    def use(self, seconds: float) -> None:
        """Takes some, also more than is left."""
        self._left -= seconds
