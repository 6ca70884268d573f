"""A follower that cuts its connection, reads slowly at times, and resumes with its last id or starts over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from random import Random
from urllib.parse import urlencode

from roomcast.torture.reader import Event, EventReader, Silent
from roomcast.torture.record import Record
from roomcast.torture.target import RawConnection, Target
from roomcast.torture.tickets import TicketHolder
from roomcast.torture.transcript import END, Transcript

_SLOW = 0.1
"""The share of followers that read slowly."""
_STEADY = 0.2
"""The share that never cut their connection: a message that is not pushed to them cannot come by a resume."""
_FORGETS = 0.1
"""How often a follower comes back without an id, and reads everything from the beginning."""
_MOST_DELAYS = 1_000
_LATE = 5.0
"""Seconds within which a stream must end after its ticket has expired."""


class Follower:
    """One follower of many."""

    def __init__(
        self,
        target: Target,
        record: Record,
        name: str,
        rooms: Sequence[str],
        random: Random,
        holder: TicketHolder | None = None,
        prefix: str = "",
    ) -> None:
        """With `prefix`, it follows by this prefix; `rooms` are then all rooms whose names begin with it."""
        self.transcript = Transcript(record, name, rooms)
        """Everything that it has heard since it started, or started over."""
        self.transcripts = [self.transcript]
        self.delays: list[float] = []
        """A sample of the seconds from the sending of a message to its arrival here, while the follower was
        live."""
        self.retries: list[int | None] = []
        """The milliseconds of the last `retry:` of each stream that the server ended properly."""
        self.stop_cutting = asyncio.Event()
        """Once set, it no longer cuts its connection, and reconnects at once."""
        self.turned_away = False
        """Whether the server asked it to come back later, before any event."""
        self._target = target.without_credential() if holder else target
        self._holder = holder
        """The holder of its tickets; None if it follows with the credential of the attack."""
        self._record = record
        self._name = name
        self._prefix = prefix
        self._random = random
        self._pace = 0.02 if random.random() < _SLOW else 0
        self._steady = random.random() < _STEADY
        self._timed = 0
        self._wanted: int | None = None
        self._reached = asyncio.Event()
        self._live = False

    async def run(self, until: float, life: float, sent_at: dict[str, float]) -> None:
        """Follows for ever. Until the loop's time is `until`, it cuts its connection about every `life` seconds.
        `sent_at` has the monotonic time at which each text was last sent, to measure delays."""
        while True:
            try:
                async with asyncio.timeout(self._seconds_to_cut(until, life)) as own:
                    await self._follow(sent_at)
            except Silent as error:
                self._violate(f"was left alone: {error}")
            except (OSError, TimeoutError):
                self._record.counts["cuts"] += 1
            except (ValueError, KeyError, TypeError) as error:
                self._violate(f"was sent what is no event stream: {error!r}")
            self._live = False
            # A follower comes back at once if the server ended its stream. So does one without an id, since all
            # others wait for it.
            away = own.expired() and self.transcript.last_id
            await self._stay_away(self._seconds_away(until, life) if away else None)

    async def reach(self, seq: int) -> None:
        """Returns when everything up to `seq` was heard, or named in a gap."""
        self._wanted = seq
        self._check_reached()
        await self._reached.wait()

    def judge(self) -> None:
        """Compares what it heard with what it had to hear."""
        for transcript in self.transcripts:
            if transcript.joined or not self.turned_away:
                transcript.judge()

    def _read_pause(self) -> float:
        return 0 if self.stop_cutting.is_set() else self._pace

    def _seconds_to_cut(self, until: float, life: float) -> float | None:
        """Seconds to its next cut; None if there is none before `until`."""
        seconds = self._random.expovariate(1 / life)
        return None if self._steady or seconds > self._seconds_left(until) else seconds

    def _seconds_away(self, until: float, life: float) -> float | None:
        left = self._seconds_left(until)
        return min(self._random.expovariate(2 / life), left) if left > 0 else None

    def _seconds_left(self, until: float) -> float:
        return 0 if self.stop_cutting.is_set() else until - asyncio.get_running_loop().time()

    async def _stay_away(self, seconds: float | None) -> None:
        if seconds is None:
            await asyncio.sleep(0.05 + (1 if self.turned_away else 0.2) * self._random.random())
            return
        try:
            async with asyncio.timeout(seconds):
                await self.stop_cutting.wait()
        except TimeoutError:
            if self.transcript.joined and self._random.random() < _FORGETS:
                self.transcript = Transcript(self._record, f"{self._name}, started over,", self.transcript.rooms)
                self.transcripts.append(self.transcript)

    async def _follow(self, sent_at: dict[str, float]) -> None:
        connection = await self._target.connect()
        try:
            stream = await self._open(connection)
            if stream is None:
                return
            self.transcript.begin()
            heard = False
            async for event in stream.events():
                heard = True
                self.transcript.hear(event)
                self._judge_right(event)
                if event.name == "live":
                    self._live = True
                elif event.name == "message" and self._live and not self._pace:
                    self._sample_delay(sent_at.get(event.data["text"]))
                self._check_reached()
            self._record.counts["sent away"] += 1
            self.retries.append(stream.retry_ms)
            self.turned_away = not heard and stream.retry_ms is not None
        finally:
            connection.cut()

    async def _open(self, connection: RawConnection) -> EventReader | None:
        named = [("room", room) for room in self.transcript.rooms]
        query = [("prefix", self._prefix)] if self._prefix else named
        headers = {"Accept": "text/event-stream"}
        if self.transcript.last_id:
            headers["Last-Event-ID"] = self.transcript.last_id
            self._record.counts["resumes"] += 1
        elif len(self.transcripts) == 1:
            query.append(("replay", "none"))
        if self._holder:
            more, authorization = await self._holder.credential(resumes=bool(self.transcript.last_id))
            query += more
            headers |= authorization
        await connection.send("GET", f"/messages?{urlencode(query)}", headers)
        status, fields = await connection.head()
        if status == 401 and self._holder and not self._holder.is_usable(resumes=bool(self.transcript.last_id)):
            self._holder.ticket = None
            return None
        if status == 200 and fields.get("content-type", "").startswith("text/event-stream"):
            return EventReader(connection, fields, self._read_pause)
        if status < 500 and status != 429:
            kind = fields.get("content-type")
            self._violate(f"was answered with {status}, {kind}, and no event stream")
        return None

    def _judge_right(self, event: Event) -> None:
        """Checks that the ticket still allows this event, or that it allows the stream to end now."""
        if self._holder is None:
            if event.name == END:
                self._violate(f"was sent away for its rights: {event.data['reason']}")
            return
        ticket, now = self._holder.ticket, time.monotonic()
        if ticket is None:
            self._violate(f"heard {event.name} {event.id} after the end of its right")
        elif event.name == END:
            self._record.counts["renewals"] += 1
            self._holder.ticket = None
            if event.data["reason"] != "expired" or not ticket.may_end(now):
                self._violate(f"was sent away as {event.data['reason']} with a good ticket")
        elif not self._pace and ticket.must_be_refused(now - _LATE):
            self._violate(f"heard {event.id} when its ticket was over")

    def _violate(self, what: str) -> None:
        self._record.violate(f"{self.transcript.name} {what}")

    def _sample_delay(self, sent_at: float | None) -> None:
        """Samples the delay. Each delay is kept with the same probability."""
        if sent_at is None:
            return
        self._timed += 1
        delay = time.monotonic() - sent_at
        if len(self.delays) < _MOST_DELAYS:
            self.delays.append(delay)
        elif (at := self._random.randrange(self._timed)) < _MOST_DELAYS:
            self.delays[at] = delay

    def _check_reached(self) -> None:
        if self._wanted is not None and self.transcript.position >= self._wanted:
            self._reached.set()
