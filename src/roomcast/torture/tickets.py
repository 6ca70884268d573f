"""The tickets of an attack: their holders, and how long the server must accept them."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import NamedTuple

from roomcast.torture.record import Record
from roomcast.torture.target import RawAnswer, Target, Unusable

_KEPT = 1_000
"""Tickets that are remembered, for intruders that try old ones."""
_OPENINGS = 8
"""Streams that are opened with one ticket in the URL. The server refuses a ticket after ten replacements a minute,
and may count a reconnection as one."""
_ROUNDED = 1.0
"""The server rounds its times to this many seconds."""


class TicketLifetimes(NamedTuple):
    """Seconds that tickets are valid. Short ones expire during the attack, long ones outlive the time to open
    streams."""

    short: int = 5
    long: int = 300
    leeway: float = 30.0
    """Seconds that the server adds to each expiry."""


class HeldTicket(NamedTuple):
    """An issued ticket. The server made it between `requested_at` and `received_at`, by the monotonic clock."""

    text: str
    rooms: tuple[str, ...]
    requested_at: float
    received_at: float
    opens_in: float
    ends_in: float
    leeway: float

    def must_open(self, now: float) -> bool:
        """Whether the server must accept it at the monotonic time `now` for a stream that is not a resume."""
        return now < self.requested_at + self.opens_in - _ROUNDED

    def must_be_accepted(self, now: float) -> bool:
        """Whether the server must accept it at the monotonic time `now`."""
        return now < self.requested_at + self.ends_in

    def must_not_open(self, now: float) -> bool:
        """Whether the server must refuse it at the monotonic time `now` for a stream that is not a resume."""
        return now > self.received_at + self.opens_in + self.leeway + _ROUNDED

    def must_be_refused(self, now: float) -> bool:
        """Whether the server must refuse it at the monotonic time `now`."""
        return now > self.received_at + self.ends_in + self.leeway + _ROUNDED

    def may_end(self, now: float) -> bool:
        """Whether the server may end its stream at the monotonic time `now`."""
        return now > self.requested_at + self.ends_in + self.leeway - _ROUNDED


class TicketIssuer:
    """Requests tickets from the server, with the credential of the attack."""

    def __init__(self, target: Target, record: Record, lives: TicketLifetimes) -> None:
        self.lives = lives
        self.issued: deque[HeldTicket] = deque(maxlen=_KEPT)
        self._target = target
        self._record = record

    async def issue(self, rooms: Sequence[str], sub: str, seconds: int) -> HeldTicket:
        """Returns a new ticket for `sub` and `rooms`, valid for `seconds` seconds. Raises `ConnectionError` if the
        server gives none now, `OSError` if it does not answer, and `ValueError`, `KeyError` or `TypeError` if its
        answer is malformed."""
        requested_at = time.monotonic()
        answer = await self._ask(rooms, sub, seconds)
        if answer.status != 201:
            if answer.status < 500 and answer.status != 429:
                self._record.violate(f"a ticket was refused with {answer.status}: {answer.body[:200]!r}")
            raise ConnectionError("no ticket")
        told = answer.json
        times = float(told["opens_in"]), float(told["ends_in"])
        ticket = HeldTicket(
            str(told["ticket"]), tuple(rooms), requested_at, time.monotonic(), *times, self.lives.leeway
        )
        self._record.counts["tickets"] += 1
        self.issued.append(ticket)
        return ticket

    async def check(self, room: str) -> None:
        """Checks that the server issues a ticket for `room`, and refuses strangers. Raises `Unusable` if not, and
        the errors of `Target.ask`."""
        answer = await self._ask([room], "torture", 1)
        if answer.status != 201:
            said = answer.body[:200].decode(errors="replace")
            raise Unusable(
                f"POST /tickets is answered with {answer.status}: for --principals the server needs --secret-file "
                f"and ROOMCAST_TOKEN a key that may read and publish every room ({said})"
            )
        answer = await self._target.without_credential().get(f"/messages?room={room}&limit=1")
        if answer.status != 401:
            raise Unusable(
                f"somebody without a credential is answered with {answer.status}: where strangers may read every "
                "room, nobody can be kept out"
            )

    async def _ask(self, rooms: Sequence[str], sub: str, seconds: int) -> RawAnswer:
        body = json.dumps({"rooms": [*rooms], "sub": sub, "seconds": seconds}).encode()
        return await self._target.ask("POST", "/tickets", body=body)


class TicketHolder:
    """Holds one ticket at a time, for the rooms that it may read: in the URL, or as a bearer token."""

    def __init__(self, issuer: TicketIssuer, sub: str, rooms: Sequence[str], random: Random) -> None:
        self.ticket: HeldTicket | None = None
        self._issuer = issuer
        self._sub = sub
        self._rooms = rooms
        self._in_url = random.random() < 0.5
        self._seconds = random.choice((issuer.lives.short, issuer.lives.long))
        self._opened = 0

    async def credential(self, *, resumes: bool) -> tuple[list[tuple[str, str]], dict[str, str]]:
        """Returns parameters to add to the query, and fields to add to the header, of a stream that begins now;
        `resumes` says whether it has a last id. Raises the errors of `issue`."""
        if self.ticket is None or not self.is_usable(resumes=resumes) or self._opened == _OPENINGS:
            self.ticket = await self._issuer.issue(self._rooms, self._sub, self._seconds)
            self._opened = 0
        self._opened += self._in_url
        if self._in_url:
            return [("ticket", self.ticket.text)], {}
        return [], {"Authorization": f"Bearer {self.ticket.text}"}

    def is_usable(self, *, resumes: bool) -> bool:
        """Whether the server must accept its ticket now, for a stream that `resumes` or begins."""
        now = time.monotonic()
        ticket = self.ticket
        if ticket is None or not ticket.must_be_accepted(now):
            return False
        return resumes or not self._in_url or ticket.must_open(now)
