"""An intruder, who tries to read and publish without the right to: with others' tickets, old or forged ones, or
none."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple
from urllib.parse import urlencode

from roomcast.torture.reader import EventReader
from roomcast.torture.record import Record
from roomcast.torture.target import Target
from roomcast.torture.tickets import HeldTicket, TicketIssuer

ELSEWHERE = "https://torture.example"
"""An origin that no server names as one of its own."""
_PREFIX = "rct1_"
_MAC_BYTES = 32
_PATIENCE = 1.0
"""Seconds that the intruder listens to a stream that it should not have got."""
_PAUSE = 0.03


class BreakIn(NamedTuple):
    """A request that must be refused, and the status that it must get."""

    status: int
    method: str = "GET"
    path: str = "/messages"
    query: Sequence[tuple[str, str]] = ()
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


class Intruder:
    """One intruder of several."""

    def __init__(
        self, target: Target, record: Record, issuer: TicketIssuer, rooms: Sequence[str], random: Random
    ) -> None:
        self.tried: Counter[str] = Counter()
        """How often each kind of break-in was refused."""
        self.any_origin = False
        """Whether the server serves pages of every origin. A foreign origin is then no break-in."""
        self._target = target.without_credential()
        self._record = record
        self._issuer = issuer
        self._rooms = rooms
        self._random = random

    async def run(self, until: float) -> None:
        """Tries until the loop's time is `until`."""
        await self._check_origins()
        while asyncio.get_running_loop().time() < until:
            name = self._random.choice([*KINDS])
            if break_in := KINDS[name](self):
                try:
                    await self._try(name, break_in)
                except (OSError, TimeoutError):
                    pass  # the server is away
                except (ValueError, KeyError, TypeError) as error:
                    self._record.violate(f"a break-in ({name}) got an answer that is not HTTP: {error!r}")
            await asyncio.sleep(_PAUSE)

    async def _check_origins(self) -> None:
        try:
            answer = await self._target.ask("OPTIONS", "/messages", headers={"Origin": ELSEWHERE})
            self.any_origin = answer.fields.get("access-control-allow-origin") in ("*", ELSEWHERE)
        except (OSError, TimeoutError, ValueError):
            self.any_origin = True

    async def _try(self, name: str, break_in: BreakIn) -> None:
        connection = await self._target.connect()
        try:
            headers = {"Accept": "text/event-stream", "Content-Type": "application/json", "Connection": "close"}
            headers |= dict(break_in.headers)
            path = break_in.path + (f"?{urlencode(break_in.query)}" if break_in.query else "")
            await connection.send(break_in.method, path, headers, break_in.body)
            status, fields = await connection.head()
            if status == break_in.status:
                self.tried[name] += 1
                self._record.counts["kept out"] += 1
            elif status == 200 and fields.get("content-type", "").startswith("text/event-stream"):
                await self._listen(name, EventReader(connection, fields))
            elif status < 500 and status != 429:
                self._record.violate(f"a break-in ({name}) was answered with {status}, not with {break_in.status}")
        finally:
            connection.cut()

    async def _listen(self, name: str, stream: EventReader) -> None:
        """Records a violation for any event. A full server sends clients away by a stream without events."""
        async with asyncio.timeout(_PATIENCE):
            async for event in stream.events():
                self._record.violate(f"somebody was let in ({name}) and received {event.name} {event.id}")
                return

    # The kinds of break-ins. Each returns None if it needs a ticket and none fits.

    def nobody(self) -> BreakIn:
        """Without a credential."""
        return self._random.choice(
            [
                BreakIn(401, query=self._named([self._any_room()])),
                BreakIn(401, "POST", body=self._message()),
                BreakIn(401, path="/rooms"),
                BreakIn(401, path="/metrics"),
                BreakIn(401, "POST", "/tickets", body=b'{"rooms": ["a"]}'),
            ]
        )

    def wrong_room(self) -> BreakIn | None:
        """With a valid ticket for other rooms, alone or beside its own."""
        if (found := self._ticket_and_other()) is None:
            return None
        ticket, other = found
        rooms = [other, *self._random.choice(([], ticket.rooms))]
        self._random.shuffle(rooms)
        return self._follow(403, ticket.text, rooms, in_url=ticket.must_open(time.monotonic()))

    def message_of_another_room(self) -> BreakIn | None:
        """Asks for a message of another room by its id. The answer must be as for one that never existed."""
        found = self._ticket_and_other()
        if found is None or not (seq := self._record.newest(found[1])):
            return None
        return BreakIn(404, path=f"/messages/{self._record.epoch}-{seq}", headers=_bearer(found[0].text))

    def expired(self) -> BreakIn | None:
        """With an expired ticket, sometimes as a resume."""
        ticket = self._ticket(HeldTicket.must_be_refused)
        return ticket and self._follow(401, ticket.text, ticket.rooms, resumes=self._random.random() < 0.5)

    def replayed(self) -> BreakIn | None:
        """With a URL from a log file, after the time in which its ticket opens streams."""
        ticket = self._ticket(lambda one, now: one.must_not_open(now) and one.must_be_accepted(now))
        if ticket is None:
            return None
        query = [*self._named(ticket.rooms), ("ticket", ticket.text)]
        if self._random.random() < 0.5:
            query.append(("last_event_id", self._id()))
        return BreakIn(401, query=query)

    def flipped(self) -> BreakIn | None:
        """With a ticket in which one bit is changed."""
        ticket = self._ticket(HeldTicket.must_be_accepted)
        if ticket is None:
            return None
        raw = bytearray(_raw(ticket.text))
        raw[self._random.randrange(len(raw))] ^= 1 << self._random.randrange(8)
        return self._follow(401, _text(bytes(raw)), ticket.rooms, resumes=self._random.random() < 0.5)

    def resealed(self) -> BreakIn | None:
        """With a ticket for every room, signed with the intruder's own secret."""
        ticket = self._ticket(HeldTicket.must_be_accepted)
        return ticket and self._follow(401, _sealed_anew(_raw(ticket.text), self._rooms), [self._any_room()])

    def other_origin(self) -> BreakIn | None:
        """From a page of a foreign origin, with a valid ticket."""
        ticket = self._ticket(HeldTicket.must_open)
        if ticket is None or self.any_origin:
            return None
        follow = self._follow(403, ticket.text, ticket.rooms)
        return follow._replace(headers=[*follow.headers, ("Origin", ELSEWHERE)])

    def publishes(self) -> BreakIn | None:
        """With a ticket that only reads, as a bearer or in the URL."""
        ticket = self._ticket(HeldTicket.must_be_accepted)
        if ticket is None:
            return None
        if self._random.random() < 0.5:
            return BreakIn(403, "POST", headers=_bearer(ticket.text), body=self._message())
        return BreakIn(422, "POST", query=[("ticket", ticket.text)], body=self._message())

    def beyond_streams(self) -> BreakIn | None:
        """With a ticket, for routes that no ticket may use."""
        ticket = self._ticket(HeldTicket.must_be_accepted)
        if ticket is None:
            return None
        bearer = _bearer(ticket.text)
        others = [
            BreakIn(403, path="/metrics", headers=bearer),
            BreakIn(403, "POST", "/tickets", headers=bearer, body=b'{"rooms": ["a"]}'),
        ]
        if ticket.must_open(time.monotonic()):  # otherwise it is refused because it is too old
            query = [*self._named(ticket.rooms), ("ticket", ticket.text)]
            others.append(BreakIn(422, query=query, headers=[("Accept", "application/json")]))
        return self._random.choice(others)

    # Parts of break-ins

    def _follow(
        self, status: int, text: str, rooms: Sequence[str], *, in_url: bool = True, resumes: bool = False
    ) -> BreakIn:
        headers = [("Last-Event-ID", self._id())] if resumes else []
        if in_url and self._random.random() < 0.5:
            return BreakIn(status, query=[*self._named(rooms), ("ticket", text)], headers=headers)
        return BreakIn(status, query=self._named(rooms), headers=[*headers, *_bearer(text)])

    def _ticket(self, fits: Callable[[HeldTicket, float], bool]) -> HeldTicket | None:
        now = time.monotonic()
        fitting = [ticket for ticket in self._issuer.issued if fits(ticket, now)]
        return self._random.choice(fitting) if fitting else None

    def _ticket_and_other(self) -> tuple[HeldTicket, str] | None:
        ticket = self._ticket(HeldTicket.must_be_accepted)
        others = [room for room in self._rooms if ticket and room not in ticket.rooms]
        return (ticket, self._random.choice(others)) if ticket and others else None

    def _any_room(self) -> str:
        return self._random.choice(self._rooms)

    def _id(self) -> str:
        return f"{self._record.epoch}-0"

    def _message(self) -> bytes:
        return json.dumps({"room": self._any_room(), "text": "from an intruder"}).encode()

    @staticmethod
    def _named(rooms: Sequence[str]) -> list[tuple[str, str]]:
        return [("room", room) for room in rooms]


KINDS: dict[str, Callable[[Intruder], BreakIn | None]] = {
    "nobody": Intruder.nobody,
    "wrong room": Intruder.wrong_room,
    "message of another room": Intruder.message_of_another_room,
    "expired": Intruder.expired,
    "replayed": Intruder.replayed,
    "flipped bit": Intruder.flipped,
    "another secret": Intruder.resealed,
    "another origin": Intruder.other_origin,
    "publish": Intruder.publishes,
    "beyond streams": Intruder.beyond_streams,
}


def _bearer(text: str) -> list[tuple[str, str]]:
    return [("Authorization", f"Bearer {text}")]


def _raw(text: str) -> bytes:
    coded = text.removeprefix(_PREFIX)
    return base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))


def _text(raw: bytes) -> str:
    return _PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _sealed_anew(raw: bytes, rooms: Sequence[str]) -> str:
    """Forges a ticket for these rooms, as somebody would who knows the format but not the server's secret."""
    start = raw.index(b'[["')  # the content is a JSON list after an id and a MAC
    content = json.loads(raw[start:])
    content[3] = [*rooms][:20]
    written = json.dumps(content, separators=(",", ":")).encode()
    mac = hmac.digest(secrets.token_bytes(32), written, "sha256")
    return _text(raw[: start - _MAC_BYTES] + mac + written)
