"""How long the loop's turns are, and how fast the log grows, both measured by sampling."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

_LOOK_SECONDS = 0.1
"""Seconds between two samples. A longer turn of the loop is always noticed; ten samples a second cost 0.02 % of a
core."""
_REMEMBERED_SECONDS = 60.0
"""The longest turn is reported for at least this many seconds, so that each of several Prometheus servers sees
it."""
_SAMPLE_SECONDS = 10.0
_SAMPLES = 31
"""The rate is that of the last five minutes."""
_LEAST_SECONDS = 60.0
"""Seconds of samples needed for a rate. Fewer would measure a burst: 60 messages right after the start gave a
retention of 335 s."""

logger = logging.getLogger("roomcast.server")


class Pace:
    """The loop's turns, and the log's growth."""

    def __init__(self, position: Callable[[], int]) -> None:
        """`position` returns the number of the newest known message."""
        self._position = position
        self._longest = 0.0
        self._longest_before = 0.0
        """The longest turn of the previous minute."""
        self._longest_untaken = 0.0
        """The longest turn since the last `take_longest_turn`."""
        self._samples: deque[tuple[float, int]] = deque(maxlen=_SAMPLES)
        """Times of samples, and the newest message's number at each."""

    async def run(self) -> None:
        """Takes samples, for ever."""
        loop = asyncio.get_running_loop()
        minute = loop.time()
        self.sample(minute)
        while True:
            began = loop.time()
            await asyncio.sleep(_LOOK_SECONDS)
            now = loop.time()
            turn = now - began - _LOOK_SECONDS
            self._longest = max(self._longest, turn)
            self._longest_untaken = max(self._longest_untaken, turn)
            if now - minute >= _REMEMBERED_SECONDS:
                minute = now
                self._longest_before, self._longest = self._longest, 0.0
            if now - self._samples[-1][0] >= _SAMPLE_SECONDS:
                self.sample(now)

    @property
    def longest_turn(self) -> float:
        """The longest delay of a timer of this loop, in seconds, within the last one to two minutes."""
        return max(self._longest, self._longest_before)

    def take_longest_turn(self) -> float:
        """Returns the longest delay of a timer of this loop since the last call, in seconds. Only the summary of
        each minute may call this: a second caller would take delays away from it."""
        longest, self._longest_untaken = self._longest_untaken, 0.0
        return longest

    @property
    def rate(self) -> float:
        """Messages a second that the log got in the last five minutes, from all its servers; 0 until that is
        known."""
        if len(self._samples) < 2:
            return 0.0
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return (last - first) / (ended - began) if ended - began >= _LEAST_SECONDS else 0.0

    def sample(self, now: float) -> None:
        """Records the log's position; `now` is the loop's time."""
        position = self._position()
        if self._samples and position < self._samples[-1][1]:  # a new epoch counts from elsewhere
            self._samples.clear()
        self._samples.append((now, position))
