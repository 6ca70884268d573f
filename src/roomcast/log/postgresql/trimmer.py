"""Trims, step by step and when publishing pauses, what the appends themselves do not trim."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from roomcast.log.clock import now_ms
from roomcast.log.consumers import Consumers
from roomcast.log.postgresql.caps import PostgresCaps
from roomcast.log.postgresql.connection import Session
from roomcast.log.postgresql.queries import Totals, totals_of
from roomcast.log.postgresql.tail import PostgresTail

_PAUSE = 0.005
"""Seconds without a publish before a step, so that no publish waits for it."""
_LONGEST = 1.0
"""Seconds that publishes may put off a step. Without this bound, steady traffic would put it off for ever."""
RETRY = 0.5
"""Seconds after which a step that could trim nothing is retried."""
_STEP = 200
"""The most messages, and the most rooms, of one step."""
_URGENT = 64
"""With this many messages over rooms' rules, trimming happens even while publishes wait."""


class Trimmer:
    """Decides when to trim, and makes the steps."""

    def __init__(
        self,
        session: Session,
        tail: PostgresTail,
        consumers: Consumers,
        caps: PostgresCaps,
        empty_rooms: int,
        on_due: Callable[[], None],
    ) -> None:
        """`empty_rooms`: how many rooms without messages are remembered. `on_due` is called when a step is due;
        the writer then calls `step`, or `schedule_after_pause` if it has no time."""
        self.due = False
        """Whether the writer is to call `step` now."""
        self._session = session
        self._tail = tail
        self._consumers = consumers
        self._caps = caps
        self._empty_rooms = empty_rooms
        self._on_due = on_due
        self._maybe_empty = 2 * empty_rooms + 1
        """An estimate of the number of empty rooms. It begins high, so that the first step counts them."""
        self._more = True
        """Whether there may be more to trim."""
        self._wanted_since: float | None = None
        """When the next step was first scheduled, on the loop's clock; None if none is."""
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    @property
    def urgent(self) -> bool:
        """Whether trimming cannot wait for a pause in publishing."""
        return self._caps.backlog >= _URGENT or self._overdue

    @property
    def _overdue(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._wanted_since is not None and now - self._wanted_since > _LONGEST

    def next_rooms_to_keep(self) -> int:
        """How many empty rooms the append or step that is made now keeps; -1 if it need not count them. Called
        once for each, as it begins a new estimate."""
        if self._maybe_empty <= self._empty_rooms + self._empty_rooms // 10:
            return -1
        self._maybe_empty = self._empty_rooms
        return self._empty_rooms

    def schedule_after_pause(self) -> None:
        """Schedules a step after a pause in publishing, if there may be anything to trim. Called with each
        publish and each delivery, which put the step off. If that has gone on for `_LONGEST` seconds, the step is
        due at once."""
        if self._overdue and not self._stopped:
            self.due = True
        else:
            self.schedule(_PAUSE)

    def request(self, emptied: int = 0) -> None:
        """Notes that there may be more to trim, and lets the next step come within `_PAUSE` seconds. `emptied`:
        how many rooms were deleted: the next step cannot always tell, as the tail may have read the totals since
        the delete."""
        self._more = True
        self._maybe_empty += emptied
        soon = asyncio.get_running_loop().time() + _PAUSE
        if self._timer is None or self._timer.when() > soon:
            self.schedule(_PAUSE)

    def schedule(self, seconds: float) -> None:
        """Schedules a step in `seconds`, in place of any other, if there may be anything to trim."""
        self.due = False
        self._cancel()
        if not self._stopped and (self._more or self._caps.over):
            loop = asyncio.get_running_loop()
            if self._wanted_since is None:
                self._wanted_since = loop.time()
            self._timer = loop.call_later(seconds, self._fire)

    def stop(self) -> None:
        """Schedules no more steps."""
        self._stopped = True
        self._cancel()

    def note_append(self, before: Totals, after: Totals, stored: int) -> None:
        """Notes an append of `stored` messages, and the totals `before` and `after` it."""
        retention = self._caps.retention
        self._note_gone(before.messages + stored - after.messages)
        if stored and (after.messages > retention.max_messages or after.bytes > retention.max_bytes):
            self._more = True

    async def step(self) -> None:
        """Trims rooms over their rules, the oldest messages of the log, and rows of deleted rooms. Raises what the
        driver raises."""
        self.due, self._wanted_since = False, None
        before, rules, retention = self._tail.totals, self._caps.rules, self._caps.retention
        now = now_ms()
        rooms = list(self._caps.over)[:_STEP]
        self._caps.backlog = 0
        row = await self._session.row(
            "trim",
            self._tail.epoch,
            *self._tail.anchor,
            self._tail.presence.server,
            self._consumers.floor,
            retention.max_messages,
            retention.max_bytes,
            self._caps.oldest_at(now),
            _STEP,
            self.next_rooms_to_keep(),
            *self._caps.limits(rooms, now),
        )
        if rules is self._caps.rules:
            for room in set(rooms).difference(row["still_over"]):
                self._caps.over.pop(room, None)
        self._more = row["more"]
        totals = totals_of(row)
        self._note_gone(before.messages - totals.messages)
        self._tail.note_trim(totals)
        # A step that could trim nothing waits for the consumers. Ours report progress; those of other servers do
        # not, so retry.
        self.schedule(_PAUSE if totals != before else RETRY)

    def _note_gone(self, messages: int) -> None:
        """Notes that this many messages are gone. Each may have been the last one of its room."""
        self._maybe_empty += max(0, messages)

    def _fire(self) -> None:
        self._timer = None
        self.due = True
        self._on_due()

    def _cancel(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
