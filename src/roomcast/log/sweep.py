"""Decides when to walk all rooms for messages that must go without a publish, because of their age or of new
rules. No I/O.

A walk goes in steps, so that nothing has to wait long for it. The next walk begins after a pause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from roomcast.model.retention import Retention

MOST_PAUSE = 5.0
"""The longest pause between two walks, in seconds. A message may outlive its age by this, and by the length of a
walk."""
_WALKS_PER_AGE = 20
"""How many walks begin within the least age. So an age of one second is exact to 50 ms."""
_PAUSE_PER_WALK = 20
"""A pause is at least this many times as long as the walk before it."""


class Sweep:
    """The walks over one log."""

    def __init__(self, step: Callable[[str], None]) -> None:
        """`step` begins one step of a walk, after the room with this name, or at the first room if it is empty.
        Call `stepped` when the step is done."""
        self._step = step
        self._walking = False
        self._again = False
        """Whether another walk was requested during this one."""
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        self.least_age = float("inf")
        """The least age in seconds at which any message can be too old."""

    def apply(self, retention: Retention) -> None:
        """Takes the rules of `retention`: walks all rooms now, and again and again if messages can grow too old.
        Does nothing if only a publish can remove messages."""
        self.least_age = retention.least_age
        if retention.rooms or retention.ages:
            self.begin()

    def begin(self) -> None:
        """Begins a walk over all rooms. If one is under way, the new one begins after it."""
        if self._walking:
            self._again = True
            return
        self._cancel()
        if self._stopped:
            return
        self._walking = True
        self._began = asyncio.get_running_loop().time()
        self._step("")

    def stepped(self, reached: str | None) -> None:
        """Notes that a step is done. `reached`: the last room that it looked at; None: there are no more."""
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
            pause = min(MOST_PAUSE, self.least_age / _WALKS_PER_AGE)
            self._timer = loop.call_later(max(pause, _PAUSE_PER_WALK * (loop.time() - self._began)), self.begin)

    def finished(self, step: asyncio.Future[str | None]) -> None:
        """Calls `stepped` with the result of `step`, which is done. If it failed, as the storage did not answer,
        this walk ends; another one begins later."""
        failed = step.cancelled() or step.exception() is not None
        self.stepped(None if failed else step.result())

    def stop(self) -> None:
        """Ends the walk, and prevents new ones."""
        self._stopped, self._walking = True, False
        self._cancel()

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
