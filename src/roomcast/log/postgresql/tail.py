"""Follows the log in the database, and feeds the consumers of this process.

Laws:
- The feed is dense except for messages that are gone: a batch begins right after the last one fed, or all in
  between was read.
- A notification only makes delivery faster. The database is polled every second all the same, and four times a
  second while something is expected: a pooler has no LISTEN, and a connection can be lost unnoticed.
- A history that differs from what was delivered is never joined to it: the log goes on under a new epoch.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from roomcast.log import clock as machine
from roomcast.log.consumers import Consumers
from roomcast.log.postgresql.connection import Session
from roomcast.log.postgresql.errors import Failure, Forked, is_forked, unavailable, unusable
from roomcast.log.postgresql.opening import Anchor, begin_life, prepare
from roomcast.log.postgresql.queries import Row, messages_of
from roomcast.log.sequencer import GONE_KEYS, KEY_MS
from roomcast.model.errors import LogUnavailable, LogUnusable, RoomcastError
from roomcast.model.message import Cut, Message

FETCH_MESSAGES = 2_000
FETCH_BYTES = 1024 * 1024
_ACTIVE_SECONDS = 60.0
"""Seconds after the last message for which the database is polled more often."""
_TIDY_SECONDS = 60.0
_NOT_YET = "The database was not reached yet."
_ANEW = "The log is read anew, as its history has changed."

_log = logging.getLogger("roomcast.log")


class Tuning(NamedTuple):
    """Times that tests shorten. They are no user options."""

    active_poll: float = 0.25
    """Seconds between two polls while something is expected."""
    idle_poll: float = 1.0
    deaf_poll: float = 0.1
    """The same while no notification can come."""
    note_seconds: float = 0.5
    """Seconds between two records of how far this server has delivered."""
    retry_seconds: float = 0.2
    patience: float = 10.0
    """Seconds after which a publish that could not be stored is refused."""


class Totals(NamedTuple):
    """The log as a whole, as far as trimming needs it."""

    trimmed: int = 0
    messages: int = 0
    bytes: int = 0
    changes: int = 0


class Follower:
    """Where this process stands in the log, and what keeps it current."""

    def __init__(
        self, name: str, session: Session, feed: Consumers, tuning: Tuning, max_message: int, remembered: int
    ) -> None:
        """`remembered`: for how many of the newest messages the room stays known after they are gone."""
        self.epoch = ""
        """Empty until the database is reached."""
        self.anchor = Anchor()
        self.server = secrets.token_hex(8)
        """The name of this process, unique on the log."""
        self.totals = Totals()
        self.outbox: Callable[[], None] = lambda: None
        """Called when something waits in the outbox."""
        self._name = name
        self._session = session
        self._feed = feed
        self._tuning = tuning
        self._max_message = max_message
        self._remembered = remembered
        self._outage: RoomcastError | None = LogUnavailable(_NOT_YET)
        self._forked = False
        self._lock = asyncio.Lock()
        self._woken = asyncio.Event()
        self._active_until = 0.0
        self._telling: asyncio.Task[None] | None = None
        self._tell_again = False
        self._noted: tuple[int | None, float] = (None, -1e9)
        self._tidied = -1e9

    @property
    def newest(self) -> int:
        """The newest message that was fed."""
        return self._feed.newest

    def check(self) -> None:
        """Raises a new `LogUnavailable` while the database is away: a shared exception's traceback would grow with
        every task that raises it."""
        if self._outage:
            raise LogUnavailable(self._outage.detail)

    def check_epoch(self, row: Row) -> None:
        """Raises `LogUnavailable` if a row is from another epoch than the one its ids would name."""
        if row["epoch"] != self.epoch:
            raise self.fork()

    async def begin(self, *, new_epoch: bool = False) -> None:
        """Adopts the log, or continues with its present history. Raises `LogUnusable`, `LogUnavailable`, and what
        the driver raises."""
        await prepare(self._session, self._name, self._max_message)
        before = self.epoch
        epoch = await begin_life(self._session, before, self.anchor, anew=new_epoch)
        state = await self._session.row("load_log")
        if epoch != before:
            self.epoch = epoch
            self.anchor = Anchor(state["newest"], state["nonce"])
            self.totals = _totals(state)
            self._feed.restart(state["newest"], state["trimmed"])
            await self._session.rows("tell_others", "epoch")
        self._forked = False
        self._back()

    async def run(self) -> None:
        """Follows through all failures until it is cancelled."""
        while True:
            try:
                if self._outage or self._forked:
                    await self.begin()
                await self.catch_up()
                await self._note()
            except RoomcastError as error:
                self.away(error)
            except Failure as error:
                self.failed(error)
            except Exception:
                _log.exception("following the log failed")
                self.away(LogUnavailable("Following the log failed: see the server's log."))
            await self._pause()

    def wake(self, payload: str = "") -> None:
        """There may be something new. `payload`: the notification's text, a seq or a word."""
        if payload == "outbox":
            self.expect()
            self.outbox()
        elif not payload.isdigit() or int(payload) > self.newest:
            self._woken.set()

    def expect(self) -> None:
        """Something happened after which more is likely to come."""
        self._active_until = asyncio.get_running_loop().time() + _ACTIVE_SECONDS

    def stored(self, messages: Sequence[Message], nonce: int, totals: Totals, *, fed: bool = True) -> None:
        """This process has appended these. If `fed`, and if they follow what was fed, they are fed at once;
        otherwise they are read."""
        self.expect()
        if fed and messages and messages[0].seq == self.newest + 1:
            self.anchor = Anchor(messages[-1].seq, nonce)
            self._feed.push(messages, max(totals.trimmed, self._feed.trimmed))
        elif messages:
            self._woken.set()
        self._take(totals)
        if messages:
            self.tell()

    def trimmed(self, totals: Totals) -> None:
        """This process has trimmed."""
        if totals.trimmed > self._feed.trimmed:
            self._feed.push((), totals.trimmed)
        self._take(totals)

    async def catch_up(self) -> None:
        """Reads everything since what was fed. Raises `Forked`, `LogUnavailable` and what the driver raises."""
        async with self._lock:
            while not await self._read_on():
                pass

    async def close(self) -> None:
        if self._telling:
            await asyncio.wait([self._telling])
        with suppress(Exception):  # if this fails, the next server to start waits five seconds for it
            if not self._outage:
                await self._session.rows("end_server", self.server)

    def fork(self) -> LogUnavailable:
        """The delivered history is not the database's. Returns the error for calls meanwhile."""
        if not self._forked:
            self._forked = True
            self._outage = LogUnavailable(_ANEW)
        self._woken.set()
        return LogUnavailable(_ANEW)

    def failed(self, error: BaseException) -> None:
        """A call has failed: notes what that means."""
        if is_forked(error) or isinstance(error, Forked):
            self.fork()
        else:
            self.away(unusable(self._name, error) or unavailable(error))

    def away(self, error: RoomcastError) -> None:
        """Notes that, and why, the database cannot be read."""
        # If waiting does not help, a person must be told, even if the database was already away for another
        # reason.
        news = isinstance(error, LogUnusable) and self._outage and self._outage.detail != error.detail
        if self._outage is None or news:
            _log.warning(
                "the log is away, followers wait; once it answers, all goes on by itself: %s", error.detail
            )
        self._outage = LogUnavailable(error.detail)
        self._woken.set()

    async def _read_on(self) -> bool:
        """One read; whether it reached the end."""
        position, anchor, known = self.newest, self.anchor, self.totals.changes
        row = await self._session.row("load_news", position, FETCH_MESSAGES, FETCH_BYTES)
        self.check_epoch(row)
        _check_history(row, anchor)
        messages = messages_of(row)
        reached = messages[-1].seq if row["newest"] > position and self._is_cut(messages) else row["newest"]
        cuts = await self._cuts(known, row) if row["changes"] > known else ()
        self._feed_on(messages, reached, row["trimmed"], cuts)
        if reached == row["newest"] >= self.anchor.seq:
            self.anchor = Anchor(row["newest"], row["nonce"])
        self._take(_totals(row))
        if row["newest"] > position:
            self.expect()
        if row["outbox"]:
            self.expect()
            self.outbox()
        return bool(reached == row["newest"])

    def _is_cut(self, messages: Sequence[Message]) -> bool:
        size = sum(len(message.body) for message in messages)
        return len(messages) >= FETCH_MESSAGES or size >= FETCH_BYTES

    def _feed_on(self, messages: Sequence[Message], reached: int, trimmed: int, cuts: Sequence[Cut]) -> None:
        """Feeds the messages read up to `reached`. Our own appends may have been fed during the read."""
        new = [message for message in messages if message.seq > self.newest]
        trimmed = max(trimmed, self._feed.trimmed)
        if new or cuts or trimmed > self._feed.trimmed or reached > self.newest:
            newest = max(reached, self.newest)
            self._feed.newest = newest
            self._feed.push(new, trimmed, cuts)
            self._feed.newest = newest  # the last ones may be gone already

    async def _cuts(self, after: int, row: Row) -> Sequence[Cut]:
        found = await self._session.rows("load_cuts", after, row["changes"])
        if len(found) < row["changes"] - after:  # older ones were dropped: all begin anew, and hear what they lost
            self._feed.restart(self.newest, max(row["trimmed"], self._feed.trimmed))
            return ()
        return [Cut(cut["room"], cut["upto"], cut["gone"]) for cut in found]

    def _take(self, totals: Totals) -> None:
        """The totals of a read may be older than those of our own last append."""
        if totals.changes >= self.totals.changes and totals.trimmed >= self.totals.trimmed:
            self.totals = totals

    def tell(self) -> None:
        """Notifies the other servers. Waiting notifications are merged into one."""
        self._tell_again = True
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell_all())

    async def _tell_all(self) -> None:
        try:
            while self._tell_again:
                self._tell_again = False
                await self._session.rows("tell_others", str(self.newest))
        except Failure:
            pass  # they poll within a second all the same
        finally:
            self._telling = None

    async def _note(self) -> None:
        """Records how far this server has delivered, so that no other server trims further. Tidies now and
        then."""
        now = asyncio.get_running_loop().time()
        position, noted_at = self._noted
        floor = self._feed.floor
        due = self._tuning.note_seconds if floor != position else 2.0
        if now - noted_at >= due:
            await self._session.rows("note_server", self.server, floor)
            self._noted = (floor, now)
        if now - self._tidied >= _TIDY_SECONDS:
            self._tidied = now
            await self._session.rows("forget_servers", self._remembered)
            await self._session.rows("forget_keys", machine.clock() // 1_000_000 - KEY_MS, GONE_KEYS)

    async def _pause(self) -> None:
        """Waits until there may be something new."""
        if self._outage:
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

    def _back(self) -> None:
        if self._outage and self._outage.detail != _NOT_YET:
            _log.warning("the log is back: nothing is left to do")
        self._outage = None


def _totals(row: Row) -> Totals:
    return Totals(row["trimmed"], row["messages"], row["bytes"], row["changes"])


def _check_history(row: Row, anchor: Anchor) -> None:
    """Raises `Forked` if the database does not hold what was fed, or has begun another life."""
    lost = row["newest"] < anchor.seq or (row["newest"] == anchor.seq and row["nonce"] != anchor.nonce)
    if lost or row["life"] != row["here"]:
        raise Forked
