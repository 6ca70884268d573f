"""Bounds the server's time for credentials that turn out to be bad.

Rejecting a token with a wrong signature takes 0.1 ms for ES256: 10,000 of them in a second would take all of the
server's time. So this time is counted, for each client and for all clients together. A client that has used up its
share is refused before its next credential is read. Its flood then costs others nothing. A credential in the cache
is accepted in any case.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from time import monotonic

from roomcast.auth.rate_limiter import BUCKETS, RateLimiter
from roomcast.model.errors import RightsUnavailable, TooManyBad

_MICROSECONDS = 1_000_000
_EACH_SHARE, _EACH_MOST = 0.02, 0.1
"""One client's share: seconds in each second, and the maximum that it can save up, in seconds. After a change of
the secret, some thousand tokens may arrive at once through one proxy."""
_ALL_SHARE, _ALL_MOST = 0.06, 0.3
"""The share of all clients together: a flood from many addresses must not take all of the time either."""
_ANSWER = 0.000_03
"""Seconds to read and answer any such request."""


class BadCredentialBudget:
    """The time that each client, and all clients together, may still use."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._each = _bucket(_EACH_SHARE, _EACH_MOST, clock)
        self._all = _bucket(_ALL_SHARE, _ALL_MOST, clock)
        self._trusted: OrderedDict[str, None] = OrderedDict()
        """Clients that have sent a valid credential: they are refused for their own floods only."""

    def check(self, client: str) -> None:
        """Raises `TooManyBad` if `client`, an address, has used up its time. Raises `RightsUnavailable` if all
        clients together have used up theirs, and this one has sent no valid credential before."""
        if wait := self._each.debt_seconds(client):
            seconds = ceil(wait)
            raise TooManyBad(
                f"too many invalid credentials came from this address: send a valid one in {seconds} s",
                seconds,
            )
        if client not in self._trusted and self._all.debt_seconds(""):
            raise RightsUnavailable("try again: this credential cannot be verified now")

    def charge(self, client: str, seconds: float) -> None:
        """Charges `client` for a bad credential that took `seconds` to judge, even if less time is left."""
        self._each.charge(client, (seconds + _ANSWER) * _MICROSECONDS)
        self._all.charge("", (seconds + _ANSWER) * _MICROSECONDS)

    def trust(self, client: str) -> None:
        """Notes that `client` has sent a valid credential. Only the 20,000 most recent clients are kept."""
        self._trusted[client] = None
        self._trusted.move_to_end(client)
        if len(self._trusted) > BUCKETS:
            self._trusted.popitem(last=False)


def _bucket(share: float, most: float, clock: Callable[[], float]) -> RateLimiter:
    return RateLimiter(share * _MICROSECONDS, int(most * _MICROSECONDS), clock)
