"""How much each of those may have at once, or in a second, for whom a row of the configuration answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from roomcast.model.settings.kinds import Count, Rate
from roomcast.model.settings.section import column

STREAMS, PUBLISH_RATE, PUBLISH_BURST = Count(0, 10**7), Rate(1e6), Count(0, 10**9)
PERSON_STREAMS = 100
"""Streams of one person with tokens or tickets, where nothing is configured: far more than they have tabs and
devices, and few enough that one of them cannot take all that the server has."""


class Quota(NamedTuple):
    """What one principal may have."""

    streams: int = 0
    """At once; 0: any number."""
    publish_rate: float | None = None
    """Messages a second; None: any number."""
    publish_burst: int = 0
    """Of these, how many may come at once; 0: as many as in ten seconds."""


UNLIMITED, PERSONAL = Quota(), Quota(PERSON_STREAMS)


@dataclass(frozen=True, kw_only=True)
class Limited:
    """The columns of a row whose holders are limited. Each limit is for one of them: the key, or one `sub`."""

    streams: int | None = column(STREAMS, None)
    """Streams at once; 0: any number; None: the default, which depends on who asks."""
    publish_rate: float | None = column(PUBLISH_RATE, None)
    """Messages a second; None: any number."""
    publish_burst: int = column(PUBLISH_BURST, 0)
    """Of these, how many may come at once; 0: as many as in ten seconds."""

    def quota(self, streams: int) -> Quota:
        """What each of them may have; `streams` is the default."""
        own = streams if self.streams is None else self.streams
        return Quota(own, self.publish_rate, self.publish_burst)
