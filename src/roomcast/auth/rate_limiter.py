"""Rate limits: one bucket for each client, under a name (its address or its principal).

A bucket is one number, the moment at which it is full again (the generic cell rate algorithm, ITU-T I.371, annex
A). There is no timer, full buckets need not be kept, and a refusal costs one dictionary lookup.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from math import ceil
from time import monotonic

from roomcast.model.errors import TooMany

BUCKETS = 20_000
"""Maximum number of buckets of one `RateLimiter`, which take 3 MB: an attacker can use any number of addresses.
Beyond this, the least recently used bucket is dropped."""
_BURST_SECONDS = 10
"""The default burst is the rate times this."""
_SUBNET_BITS = 64
"""Prefix length of one IPv6 client: its provider assigns the network, the client chooses the rest (RFC 6177)."""


class RateLimiter:
    """One rate, and the buckets of all clients that it applies to."""

    def __init__(self, rate: float, burst: int = 0, clock: Callable[[], float] = monotonic) -> None:
        """`rate` is messages per second. `burst` is how many may come at once; 0 stands for ten seconds' worth.
        `clock` returns seconds."""
        self._interval = 1 / rate
        self._burst = burst or max(1, int(rate * _BURST_SECONDS))
        self._clock = clock
        self._full_at: dict[str, float] = {}
        """The time at which each bucket is full again, by name; the least recently used first."""
        self._spent: dict[str, float] | None = None
        """Amounts taken since the other workers were last told, by name; None if there are no other workers."""
        self.refused: int = 0

    def __len__(self) -> int:
        """The number of buckets in memory."""
        return len(self._full_at)

    def take(self, name: str) -> None:
        """Takes one message from the bucket `name`. Raises `TooMany` if it is empty."""
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
        """Takes `count` messages from the bucket `name`, even if fewer are left. The bucket is then in debt and
        gives nothing until the debt is paid. Raises `TooMany` if it is already in debt."""
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
        """Amounts taken since the last call, by name, for the other workers of this server. The first call returns
        nothing and starts the recording."""
        spent, self._spent = self._spent, {}
        return spent or {}

    def debt_seconds(self, name: str) -> float:
        """Seconds until the bucket `name` is no longer in debt; 0 if it is not in debt."""
        full_at = self._full_at.get(name)
        return 0.0 if full_at is None else max(0.0, full_at - self._clock() - self._burst * self._interval)

    def charge(self, name: str, amount: float) -> None:
        """Takes `amount`, which was used here or at another worker, from the bucket `name`, even if less is
        left."""
        now = self._clock()
        self._keep(name, max(self._full_at.pop(name, now), now) + amount * self._interval)

    def _check(self, used: float) -> None:
        """Raises `TooMany` if `used`, in seconds, is more than the burst."""
        # A thousandth of an interval allows for floating-point errors in long sums.
        too_much = used - (self._burst + 0.001) * self._interval
        if too_much > 0:
            self.refused += 1
            wait = ceil(too_much)
            raise TooMany(f"send the next message in {wait} s, and fewer of them from then on", wait)

    def _keep(self, name: str, full_at: float) -> None:
        self._full_at[name] = full_at
        if len(self._full_at) > BUCKETS:
            del self._full_at[next(iter(self._full_at))]


@lru_cache(1024)
def client_name(address: str) -> str:
    """The name under which the client at `address` is counted: the IPv4 address, or the first half of the IPv6
    address. A dual-stack socket reports an IPv4 client as `::ffff:192.0.2.1`; that is 192.0.2.1. Any other text is
    returned unchanged."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> _SUBNET_BITS:x}/{_SUBNET_BITS}"
