"""When all rooms are walked for what goes without a publish: by age, or by rules that are new. No I/O.

A walk goes in steps, so that nobody waits for it; the next one begins after a pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

MOST_PAUSE = 5.0
"""Seconds between two walks at most: by so much, and the length of a walk, a message may outlive its age."""
_OF_AGE = 20
"""A walk begins so many times within the least age, so that an age of a second is exact to 50 ms."""
_OF_TIME = 20
"""And takes at most one part in so many of all time."""


class Sweep:
    """The walks over one log."""

    def __init__(self, step: Callable[[str], None]) -> None:
        """`step` is called with the room behind which it begins, and `stepped` when it is done."""
        self._step = step
        self._walking = False
        self._again = False
        """Whether a walk was asked for during one."""
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.least_age = float("inf")
        """Seconds after which the first message can be too old."""

    def begin(self) -> None:
        """Walks all rooms, soon."""
        if self._walking:
            self._again = True
            return
        self.stop()
        self._walking = True
        self._began = asyncio.get_running_loop().time()
        self._step("")

    def stepped(self, reached: str | None) -> None:
        """A step is done, up to this room; None: there are no more."""
        if not self._walking:
            return
        if reached is not None:
            self._step(reached)
            return
        self._walking = False
        if self._again:
            self._again = False
            self.begin()
        elif self.least_age != float("inf"):
            loop = asyncio.get_running_loop()
            pause = min(MOST_PAUSE, self.least_age / _OF_AGE)
            self._timer = loop.call_later(max(pause, _OF_TIME * (loop.time() - self._began)), self.begin)

    def stop(self) -> None:
        """No walk begins by itself any more."""
        if self._timer:
            self._timer.cancel()
            self._timer = None
