"""The limits of streams and rates that a row of the configuration sets for each of its holders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from roomcast.model.settings.kinds import Count, Rate
from roomcast.model.settings.section import column

STREAMS, PUBLISH_RATE, PUBLISH_BURST = Count(0, 10**7), Rate(1e6), Count(0, 10**9)
PERSON_STREAMS = 100
"""Default limit of streams for one person with tokens or tickets: far more than a person's tabs and devices, and
few enough that one person cannot use up the server."""


class Quota(NamedTuple):
    """The limits of one principal."""

    streams: int = 0
    """At once; 0: any number."""
    publish_rate: float | None = None
    """Messages a second; None: any number."""
    publish_burst: int = 0
    """Of these, how many may come at once; 0: as many as in ten seconds."""


UNLIMITED, PERSONAL = Quota(), Quota(PERSON_STREAMS)


@dataclass(frozen=True, kw_only=True)
class LimitColumns:
    """The columns of a row with limits. Each limit applies to one holder: the key, or one `sub`."""

    streams: int | None = column(STREAMS, None)
    """Streams at once; 0: any number; None: the default of the kind of holder."""
    publish_rate: float | None = column(PUBLISH_RATE, None)
    """Messages a second; None: any number."""
    publish_burst: int = column(PUBLISH_BURST, 0)
    """Of these, how many may come at once; 0: as many as in ten seconds."""

    def quota(self, streams: int) -> Quota:
        """The quota of each holder; `streams` is the default number of streams."""
        own = streams if self.streams is None else self.streams
        return Quota(own, self.publish_rate, self.publish_burst)
