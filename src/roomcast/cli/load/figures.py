"""The figures of a load so far."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

_STEP = math.log(1.01)
"""Delays are counted in steps of 1 %: exact enough to print, and small whatever their number."""


class Delays:
    """A histogram of delays."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float) -> None:
        """Counts one delay of `seconds`."""
        self._counts[int(math.log(max(seconds, 1e-6)) // _STEP)] += 1

    def quantile(self, share: float) -> float:
        """Returns the seconds within which this `share` (0 to 1) of the deliveries came; 0 without deliveries."""
        left = share * self._counts.total()
        for step in sorted(self._counts):
            left -= self._counts[step]
            if left <= 0:
                return math.exp((step + 1) * _STEP)
        return 0.0


@dataclass
class Figures:
    """The counts of one run."""

    audience: list[int]
    """Followers of each room."""
    connected: int = 0
    published: int = 0
    """Acknowledged by the server."""
    expected: int = 0
    """Deliveries of acknowledged messages."""
    refused: int = 0
    refusal: str = ""
    """Why the newest of these was refused."""
    deliveries: int = 0
    cuts: int = 0
    """Connections of followers that ended."""
    gaps: int = 0
    disorder: int = 0
    """Messages that a follower got a second time, or after a later one."""
    delays: Delays = field(default_factory=Delays)
    sent: list[float] = field(default_factory=list)
    """When each message was posted for the first time."""
    received: list[int] = field(default_factory=list)
    """The number of followers that got each message."""
    stored: list[bool] = field(default_factory=list)
    """Whether each message is acknowledged."""
    began: float = field(default_factory=time.perf_counter)
    last: float = 0.0
    """When the newest delivery came."""

    @property
    def followers(self) -> int:
        """All followers."""
        return sum(self.audience)

    def post(self) -> int:
        """Counts a message that is posted now. Returns its number."""
        self.sent.append(time.perf_counter())
        self.received.append(0)
        self.stored.append(False)
        return len(self.sent) - 1

    def acknowledged(self, number: int) -> None:
        """Counts that the server has stored the message `number`, which each follower of its room must then
        get."""
        self.stored[number] = True
        self.published += 1
        self.expected += self.audience[self.room(number)]

    def deliver(self, numbers: Iterator[int], now: float) -> None:
        """Counts the messages `numbers`, which a follower got at the time `now`, by `time.perf_counter`."""
        for number in numbers:
            self.received[number] += 1
            self.deliveries += 1
            self.delays.add(now - self.sent[number])
        self.last = now

    def room(self, number: int) -> int:
        """Returns the place of the room of message `number`: messages go to the rooms in turn."""
        return number % len(self.audience)

    def missing(self) -> int:
        """Acknowledged messages that followers have not got yet, over all followers."""
        expected = (
            self.audience[self.room(n)] - received for n, received in enumerate(self.received) if self.stored[n]
        )
        return sum(max(0, left) for left in expected)

    def seconds(self) -> float:
        """Seconds from the first post to the newest delivery."""
        return max(self.last - self.began, 1e-9)
