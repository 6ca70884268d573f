"""How often somebody may do a thing: a bucket for each, by any name (an address, later a principal).

A bucket is one number, the moment at which it is full again (the generic cell rate algorithm, ITU-T I.371, annex
A). So there is no timer, one that is full need not be kept, and to refuse costs a look into a dictionary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from math import ceil
from time import monotonic

from roomcast.model.errors import TooMany

BUCKETS = 20_000
"""Buckets that are kept, 3 MB of them: a stranger can come from addresses without end. Beyond it the one that was
used least recently goes."""
_BURST_SECONDS = 10
"""The burst, where none is given, is what comes in such a time."""
_SUBNET_BITS = 64
"""What one client of IPv6 has: its provider gives it a network, and it chooses the rest (RFC 6177)."""


class Limits:
    """A rate, and who has used how much of it."""

    def __init__(self, rate: float, burst: int = 0, clock: Callable[[], float] = monotonic) -> None:
        """`rate` is how many a second; `burst` how many may come at once, 0: those of ten seconds."""
        self._interval = 1 / rate
        self._burst = burst or max(1, int(rate * _BURST_SECONDS))
        self._clock = clock
        self._full_at: dict[str, float] = {}
        """By name, when the bucket is full again; the least recently used first."""
        self._spent: dict[str, float] | None = None
        """What was taken since the other workers were told, by name; None where there are none."""
        self.refused = 0

    def __len__(self) -> int:
        """Buckets that are kept."""
        return len(self._full_at)

    def take(self, name: str) -> None:
        """Takes one. Raises `TooMany` where none is left."""
        now = self._clock()
        full_at = max(self._full_at.pop(name, now), now)
        try:
            self._check(full_at - now + self._interval)
            full_at += self._interval
            if self._spent is not None:
                self._spent[name] = self._spent.get(name, 0) + 1
        finally:
            self._keep(name, full_at)

    def take_more(self, name: str, count: int) -> None:
        """Takes `count`, also where fewer are left: the bucket is then in debt, and nothing is given until that
        is paid. Raises `TooMany` where it is in debt already."""
        now = self._clock()
        full_at = max(self._full_at.pop(name, now), now)
        try:
            self._check(full_at - now)
            full_at += count * self._interval
            if self._spent is not None:
                self._spent[name] = self._spent.get(name, 0) + count
        finally:
            self._keep(name, full_at)

    def take_spent(self) -> Mapping[str, float]:
        """What was taken by whom since this was asked last, for the other workers of this server; nothing at
        first: from then on it is noted."""
        spent, self._spent = self._spent, {}
        return spent or {}

    def wait(self, name: str) -> float:
        """Seconds until the bucket is no longer in debt; 0 where it is in none."""
        full_at = self._full_at.get(name)
        return 0.0 if full_at is None else max(0.0, full_at - self._clock() - self._burst * self._interval)

    def charge(self, name: str, amount: float) -> None:
        """So much was taken, here or at another worker, also where less is left."""
        now = self._clock()
        self._keep(name, max(self._full_at.pop(name, now), now) + amount * self._interval)

    def _check(self, used: float) -> None:
        """Raises `TooMany` where so much, as a time, is more than the burst."""
        # A part of an interval for what floating point makes of a sum of many.
        too_much = used - (self._burst + 0.001) * self._interval
        if too_much > 0:
            self.refused += 1
            wait = ceil(too_much)
            raise TooMany(f"send the next message in {wait} s, and then not more of them", wait)

    def _keep(self, name: str, full_at: float) -> None:
        self._full_at[name] = full_at
        if len(self._full_at) > BUCKETS:
            del self._full_at[next(iter(self._full_at))]


@lru_cache(1024)
def client_name(address: str) -> str:
    """The name of a client's bucket: its address, of IPv6 the first half. As it is where it is no address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> _SUBNET_BITS:x}/{_SUBNET_BITS}"
