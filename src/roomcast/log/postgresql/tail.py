"""Follows the log in the database, and passes its messages to the consumers of this process.

Laws:
- Consumers get every message that is not gone: what is pushed to them begins right after the last message pushed,
  or everything in between was read.
- A message is pushed only when it is durable.
- A notification only makes delivery faster. Even with notifications, the database is polled every second, and four
  times a second while messages are expected: a connection can be lost unnoticed. Behind a pooler, which has no
  LISTEN, it is polled ten times a second while messages are expected.
- A history that differs from what was delivered is never joined to it: the log goes on under a new epoch.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress

from roomcast.log.consumers import Consumers
from roomcast.log.outage import HISTORY_CHANGED, NOT_REACHED, Outage
from roomcast.log.postgresql.connection import Session
from roomcast.log.postgresql.errors import Failure, is_another_history, unavailable, unusable
from roomcast.log.postgresql.notifier import Notifier
from roomcast.log.postgresql.opening import Anchor, begin_life, check_history, check_version, prepare
from roomcast.log.postgresql.presence import Presence
from roomcast.log.postgresql.queries import Row, Totals, messages_of, totals_of
from roomcast.log.postgresql.tuning import PostgresTuning
from roomcast.model.errors import LogUnavailable, RoomcastError
from roomcast.model.message import Cut, Message

FETCH_MESSAGES = 2_000
FETCH_BYTES = 1024 * 1024
"""One read of the whole log ends with the message that reaches either of these."""
_ACTIVE_SECONDS = 60.0
"""Seconds after the last message for which the database is polled more often."""
_UNSYNCED_SECONDS = 1.0
"""If a message is not durable after this time, its server is assumed to have ended, and another one makes it
durable."""

_log = logging.getLogger("roomcast.log")


class PostgresTail:
    """Where this process stands in the log, and the task that keeps it current."""

    def __init__(
        self,
        name: str,
        session: Session,
        consumers: Consumers,
        tuning: PostgresTuning,
        max_message: int,
        remembered: int,
    ) -> None:
        """`name`: the log's name without credentials, for errors. `max_message`: the most bytes of a message
        published in SQL. `remembered`: for how many of the newest messages the log keeps the room, even after the
        messages are gone."""
        self.epoch = ""
        """Empty until the database is reached."""
        self.anchor = Anchor()
        """The newest append whose messages were pushed, or that this process found when it opened the log."""
        self.totals = Totals()
        """The newest totals that this process has read."""
        self.outage = Outage(NOT_REACHED)
        """Whether the log cannot be read now, and why."""
        self.presence = Presence(session, tuning.note_seconds, remembered)
        self.notifier = Notifier(session, lambda: str(self.newest))
        self.on_outbox: Callable[[], None] = lambda: None
        """Called when something waits in the outbox."""
        self._name = name
        self._session = session
        self._consumers = consumers
        self._tuning = tuning
        self._max_message = max_message
        self._history_changed = False
        """Whether the database has another history than the one that was delivered."""
        self._lock = asyncio.Lock()
        self._woken = asyncio.Event()
        """Set when there may be something new to read."""
        self._active_until = 0.0
        """Until when more messages are expected, on the loop's clock."""
        self._unsynced = (Anchor(), 0.0)
        """An append that was not durable yet, and when it was first seen, on the loop's clock."""

    @property
    def newest(self) -> int:
        """The seq of the newest message that was pushed."""
        return self._consumers.newest

    @property
    def alone(self) -> bool:
        """Whether no other server runs on this log, as far as known."""
        return not self.notifier.needed

    def check(self) -> None:
        """Raises `LogUnavailable` while the database is away."""
        self.outage.check()

    def check_epoch(self, row: Row) -> None:
        """Raises `LogUnavailable` if the `epoch` in `row` is not the one that this server puts into ids."""
        if row["epoch"] != self.epoch:
            raise self.note_history_change()

    async def begin(self, *, new_epoch: bool = False) -> None:
        """Opens the log, under a new epoch if `new_epoch` says so. If it is called again, after an outage or
        because the history has changed, it goes on under the epoch that the database decides on. Raises
        `LogUnusable`, `LogUnavailable`, and what the driver raises."""
        await prepare(self._session, self._name, self._max_message)
        # Recorded first: a server that appends from now on must know that this one wants to be notified.
        await self.presence.record(self._consumers.floor)
        before = self.epoch
        epoch = await begin_life(self._session, before, self.anchor, anew=new_epoch)
        state = await self._session.row("load_log")
        if epoch != before:
            self.epoch = epoch
            self.anchor = Anchor(state["newest"], state["nonce"] or 0)
            self.totals = totals_of(state)
            self._unsynced = (Anchor(), 0.0)
            self._consumers.restart(state["newest"], state["trimmed"])
            await self._session.rows("tell_others", "epoch")
        self._history_changed = False
        self.outage.end()

    async def run(self) -> None:
        """Follows the log until it is cancelled, whatever fails."""
        while True:
            try:
                await self._step()
            except RoomcastError as error:
                self.note_outage(error)
            except Failure as error:
                self._note_failure(error)
            except Exception:
                _log.exception("following the log failed")
                self.note_outage(LogUnavailable("Following the log failed: see the server's log."))
            await self._pause()

    def wake(self, payload: str = "") -> None:
        """Notes that there may be something new. `payload`: the text of a notification, either a seq or a word;
        empty if there was none."""
        if payload == "outbox":
            self._expect()
            self.on_outbox()
        elif not _is_seq(payload) or int(payload) > self.newest:
            self._woken.set()

    def _expect(self) -> None:
        """Notes an event after which more messages are likely to come."""
        self._active_until = asyncio.get_running_loop().time() + _ACTIVE_SECONDS

    def note_append(self, messages: Sequence[Message], nonce: int, totals: Totals, *, push: bool = True) -> None:
        """Notes durable `messages` that this process has appended under `nonce`, and the log's `totals` after
        that. With `push`, messages that directly follow the newest one are pushed at once; all others are read."""
        self._expect()
        if push and messages and messages[0].seq == self.newest + 1:
            self.anchor = Anchor(messages[-1].seq, nonce)
            self._consumers.push(messages, max(totals.trimmed, self._consumers.trimmed))
        elif messages:
            self._woken.set()
        self._keep_totals(totals)
        if messages:
            self.notifier.notify()

    def note_trim(self, totals: Totals) -> None:
        """Notes the `totals` after this process has trimmed. If messages other than the log's oldest were removed,
        the cuts are read and pushed."""
        if totals.changes > self.totals.changes:
            self._woken.set()
            self.notifier.notify()
        if totals.trimmed > self._consumers.trimmed:
            self._consumers.push((), totals.trimmed)
        self._keep_totals(totals._replace(changes=self.totals.changes))

    async def catch_up(self) -> None:
        """Reads and pushes everything after the newest message. Raises `HistoryChanged`, `LogUnusable`,
        `LogUnavailable` and what the driver raises."""
        async with self._lock:
            while not await self._read_on():
                pass

    async def close(self) -> None:
        """Removes this server from the running ones, if the database can be reached. `run` must have ended."""
        await self.notifier.finish()
        if not self.outage:
            await self.presence.end()

    def note_history_change(self) -> LogUnavailable:
        """Notes that the delivered history is not the database's: `run` opens the log again. Returns the error for
        calls until then."""
        if not self._history_changed:
            self._history_changed = True
            self.outage.begin_anew()
        self._woken.set()
        return LogUnavailable(HISTORY_CHANGED)

    def _note_failure(self, error: BaseException) -> None:
        """Notes what `error`, the failure of a call, means for the log: another history, or an outage."""
        if is_another_history(error):
            self.note_history_change()
        else:
            self.note_outage(unusable(self._name, error) or unavailable(error))

    def note_outage(self, error: RoomcastError) -> None:
        """Notes that the database cannot be read; `error` says why."""
        self.outage.begin(error)
        self._woken.set()

    async def _step(self) -> None:
        if self.outage or self._history_changed:
            await self.begin()
        await self.catch_up()
        await self._sync_for_others()
        await self.presence.record_if_due(self._consumers.floor)
        await self.presence.tidy()

    async def _read_on(self) -> bool:
        """Makes one read. Returns whether it reached the end."""
        position, anchor, known = self.newest, self.anchor, self.totals.changes
        values = (position, FETCH_MESSAGES, FETCH_BYTES, self.presence.server)
        row = await self._session.row("load_news", *values)
        check_version(row, self._name)
        self.check_epoch(row)
        check_history(row, anchor)
        messages = messages_of(row)
        reached = messages[-1].seq if row["newest"] > position and _is_full(messages) else row["newest"]
        cuts = await self._load_cuts(known, row) if row["changes"] > known else ()
        self._push(messages, reached, row["trimmed"], cuts)
        if reached == row["newest"] >= self.anchor.seq and row["nonce"] is not None:
            self.anchor = Anchor(row["newest"], row["nonce"])
        self._keep_totals(totals_of(row))
        self._note_others(row)
        if row["newest"] > position:
            self._expect()
        if row["outbox"]:
            self._expect()
            self.on_outbox()
        return bool(reached == row["newest"])

    def _push(self, messages: Sequence[Message], reached: int, trimmed: int, cuts: Sequence[Cut]) -> None:
        """Pushes the messages read up to `reached`. Our own appends may have been pushed during the read."""
        new = [message for message in messages if message.seq > self.newest]
        trimmed = max(trimmed, self._consumers.trimmed)
        if new or cuts or trimmed > self._consumers.trimmed or reached > self.newest:
            newest = max(reached, self.newest)
            self._consumers.newest = newest
            self._consumers.push(new, trimmed, cuts)
            self._consumers.newest = newest  # the last ones may be gone already

    async def _load_cuts(self, after: int, row: Row) -> Sequence[Cut]:
        found = await self._session.rows("load_cuts", after, row["changes"])
        if len(found) < row["changes"] - after:  # older cuts are dropped: consumers restart and learn their losses
            self._consumers.restart(self.newest, max(row["trimmed"], self._consumers.trimmed))
            return ()
        return [Cut(cut["room"], cut["upto"], cut["gone"]) for cut in found]

    def _keep_totals(self, totals: Totals) -> None:
        """Keeps `totals` unless they are from a read that is older than our own last append or trim."""
        if totals.changes >= self.totals.changes and totals.trimmed >= self.totals.trimmed:
            self.totals = totals

    def _note_others(self, row: Row) -> None:
        """Notes whether other servers run, and how far they have appended."""
        self.notifier.needed = row["others"]
        if row["newest"] >= self._unsynced[0].seq:
            self._unsynced = (Anchor(row["stored"], row["stored_nonce"]), asyncio.get_running_loop().time())

    async def _sync_for_others(self) -> None:
        """Makes an append durable if its server has ended before doing so."""
        (seq, nonce), since = self._unsynced
        if seq > self.newest and asyncio.get_running_loop().time() - since > _UNSYNCED_SECONDS:
            await self._session.rows("sync", self.presence.server, self.epoch, seq, nonce)
            await self.catch_up()

    async def _pause(self) -> None:
        """Waits until there may be something new."""
        if self.outage:
            await asyncio.sleep(self._tuning.retry_seconds)
            return
        active = asyncio.get_running_loop().time() < self._active_until
        poll = self._tuning.active_poll if active else self._tuning.idle_poll
        if active and not self._session.listening:
            poll = self._tuning.deaf_poll
        with suppress(TimeoutError):
            async with asyncio.timeout(poll):
                await self._woken.wait()
        self._woken.clear()


def _is_seq(payload: str) -> bool:
    """Whether a notification has the form of a seq. Anybody can notify: a database role needs no right for it."""
    return payload.isascii() and payload.isdigit() and len(payload) < 20


def _is_full(messages: Sequence[Message]) -> bool:
    """Whether a read returned as much as it may, so that more messages can follow."""
    return len(messages) >= FETCH_MESSAGES or sum(len(message.body) for message in messages) >= FETCH_BYTES
