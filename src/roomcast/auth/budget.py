"""How much of the server's time goes into credentials that turn out to be bad.

A token that is good but for its signature makes the server compute: 0.1 ms for ES256, so that 10,000 in a second
would take all of its time. The time is counted, for each client and for all of them. A client that has used up its
own is refused before its next credential is read, so that its flood costs others nothing. Credentials that were
good before are not held up, whoever sends them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from time import monotonic

from roomcast.auth.limits import BUCKETS, Limits
from roomcast.model.errors import RightsUnavailable, TooManyBad

_MICROSECONDS = 1_000_000
_EACH_SHARE, _EACH_MOST = 0.02, 0.1
"""What one client may use: seconds in each second, and how many can be saved. Some thousand tokens of a fleet
whose secret was changed may come at once, from one proxy."""
_ALL_SHARE, _ALL_MOST = 0.06, 0.3
"""The same of all clients together: a flood that has many addresses must not take all of the time either."""
_ANSWER = 0.000_03
"""Seconds that it takes to read and answer such a request, whatever its credential is."""


class Budget:
    """Time that is left."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._each = _bucket(_EACH_SHARE, _EACH_MOST, clock)
        self._all = _bucket(_ALL_SHARE, _ALL_MOST, clock)
        self._trusted: OrderedDict[str, None] = OrderedDict()
        """Clients of which a credential was good: what strangers use up is not theirs."""

    def check(self, client: str) -> None:
        """Raises `TooManyBad` where this client has used up its time, and `RightsUnavailable` for one that nobody
        knows where strangers have used up that of all."""
        if wait := self._each.wait(client):
            seconds = ceil(wait)
            raise TooManyBad(
                f"too many credentials from this address are not good: send one that is, in {seconds} s",
                seconds,
            )
        if client not in self._trusted and self._all.wait(""):
            raise RightsUnavailable("try again: whether this credential is good cannot be said now")

    def charge(self, client: str, seconds: float) -> None:
        """A credential of this client was bad, and took so long to judge; also where less is left."""
        self._each.charge(client, (seconds + _ANSWER) * _MICROSECONDS)
        self._all.charge("", (seconds + _ANSWER) * _MICROSECONDS)

    def trust(self, client: str) -> None:
        """A credential of this client was good."""
        self._trusted[client] = None
        self._trusted.move_to_end(client)
        if len(self._trusted) > BUCKETS:
            self._trusted.popitem(last=False)


def _bucket(share: float, most: float, clock: Callable[[], float]) -> Limits:
    return Limits(share * _MICROSECONDS, int(most * _MICROSECONDS), clock)
