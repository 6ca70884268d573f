"""The publishing rate of each principal whose quota limits it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from roomcast.auth.principal import Principal
from roomcast.auth.rate_limiter import RateLimiter
from roomcast.model.errors import TooMany

_RATES = 100
"""Maximum number of rates kept in memory: those of this configuration and of earlier ones."""


class PrincipalLimiters:
    """The buckets of all principals, grouped by rate."""

    def __init__(self) -> None:
        self._limiters: dict[tuple[float, int], RateLimiter] = {}
        self._shared = False
        """Whether amounts are recorded for other workers."""
        self.refused: Counter[str] = Counter()
        """Refused requests, by kind of principal."""

    def take(self, principal: Principal, name: str) -> None:
        """Takes one message from the bucket `name`, at the rate of `principal`, whose quota must have one. Raises
        `TooMany` if the bucket is empty."""
        try:
            self._of(principal).take(name)
        except TooMany:
            self.refused[principal.kind] += 1
            raise

    def take_more(self, principal: Principal, name: str, count: int) -> None:
        """Takes `count` messages from the bucket `name`, even if fewer are left, at the rate of `principal`.
        Raises `TooMany` if the bucket is already in debt."""
        try:
            self._of(principal).take_more(name, count)
        except TooMany:
            self.refused[principal.kind] += 1
            raise

    def take_spent(self) -> Mapping[str, float]:
        """Amounts taken since the last call, for the other workers of this server. The first call starts the
        recording."""
        self._shared = True
        return {
            f"{rate!r} {burst} {name}": amount
            for (rate, burst), limiter in self._limiters.items()
            for name, amount in limiter.take_spent().items()
        }

    def charge(self, name: str, amount: float) -> None:
        """Takes the `amount` of messages that another worker has accepted; `name` comes from its `take_spent`."""
        rate, burst, name = name.split(" ", 2)
        self._at(float(rate), int(burst)).charge(name, amount)

    def _of(self, principal: Principal) -> RateLimiter:
        _, rate, burst = principal.quota
        assert rate is not None
        return self._at(rate, burst)

    def _at(self, rate: float, burst: int) -> RateLimiter:
        limiter = self._limiters.get((rate, burst))
        if limiter is None:
            if len(self._limiters) >= _RATES:
                self._limiters.clear()
            limiter = self._limiters[rate, burst] = RateLimiter(rate, burst)
            if self._shared:
                limiter.take_spent()
        return limiter
