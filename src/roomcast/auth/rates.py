"""How much each principal publishes, where its quota bounds that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from roomcast.auth.limits import Limits
from roomcast.auth.principal import Principal
from roomcast.model.errors import TooMany

_RATES = 100
"""Rates whose buckets are kept: there are as many as the configuration has, and those of configurations before."""


class Rates:
    """The buckets of all principals. Those of one rate are kept together, by name."""

    def __init__(self) -> None:
        self._limits: dict[tuple[float, int], Limits] = {}
        self._shared = False
        """Whether other workers are told."""
        self.refused: Counter[str] = Counter()
        """Requests that were refused, by kind of principal."""

    def take(self, principal: Principal, name: str) -> None:
        """Takes one message. Raises `TooMany`."""
        try:
            self._of(principal).take(name)
        except TooMany:
            self.refused[principal.kind] += 1
            raise

    def take_more(self, principal: Principal, name: str, count: int) -> None:
        """Takes `count` more, also where fewer are left: the next ones pay for it. Raises `TooMany`."""
        try:
            self._of(principal).take_more(name, count)
        except TooMany:
            self.refused[principal.kind] += 1
            raise

    def take_spent(self) -> Mapping[str, float]:
        """What was taken since this was asked last, for the other workers of this server; it is noted from the
        first time on."""
        self._shared = True
        return {
            f"{rate!r} {burst} {name}": amount
            for (rate, burst), limits in self._limits.items()
            for name, amount in limits.take_spent().items()
        }

    def charge(self, name: str, amount: float) -> None:
        """So much was taken at another worker, by the name that `take_spent` gave."""
        rate, burst, name = name.split(" ", 2)
        self._at(float(rate), int(burst)).charge(name, amount)

    def _of(self, principal: Principal) -> Limits:
        _, rate, burst = principal.quota
        assert rate is not None
        return self._at(rate, burst)

    def _at(self, rate: float, burst: int) -> Limits:
        limits = self._limits.get((rate, burst))
        if limits is None:
            if len(self._limits) >= _RATES:
                self._limits.clear()
            limits = self._limits[rate, burst] = Limits(rate, burst)
            if self._shared:
                limits.take_spent()
        return limits
