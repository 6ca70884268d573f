"""What a follower is given, typed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NotRequired, TypedDict

import msgspec
from msgspec import Raw, Struct

from roomcast.client.decode import Event
from roomcast.client.errors import Refused
from roomcast.model import shapes


class Publication(TypedDict):
    """A message to publish. `text` may be left out where `data` is there."""

    room: str
    text: NotRequired[str]
    data: NotRequired[Any]
    type: NotRequired[str]
    user: NotRequired[str]


class Message(shapes.Message[datetime], frozen=True):
    """A stored message. `data` is None as well where it has none: `json` tells the difference."""

    json: str = ""
    """All of it as the server sent it: one line."""


class Stored(list[Message]):
    """The messages of a batch, as they are stored."""

    known = False
    """An earlier request with the same idempotency key had stored them."""


class IssuedTicket(Struct, frozen=True):
    """A ticket, and how it is used."""

    ticket: str
    """As a bearer it is good for all that was asked for."""
    opens_in: float
    """Seconds in which streams may be opened at `url`; later they can only be resumed."""
    ends_in: float
    """Seconds after which it is refused."""
    url: str | None = None
    """The path of a stream of its rooms; None where it names none to read."""


class Gap(shapes.Gap, frozen=True):
    """Messages that may be lost: they came after `after` and before `resumes_at`."""

    id: str = ""
    """The position just before `resumes_at`."""


class Live(shapes.Live, frozen=True):
    """The replay is over: what comes from here on is new."""

    id: str = ""
    """The position reached."""


class Page(shapes.Page[Message], frozen=True):
    """A page of history: a `follow(..., last_event_id=page.position)` goes on without a seam."""

    gap: Gap | None


class Room(shapes.Room[datetime], frozen=True):
    """A room that has messages or followers."""


class FollowerInfo(shapes.FollowerInfo[datetime], frozen=True):
    """A follower, and how far it is."""


class Followers(shapes.Followers[FollowerInfo], frozen=True):
    """Who follows, of all workers that answered."""


class _Page(shapes.Page[Raw], frozen=True):
    gap: Gap | None = None


_message = msgspec.json.Decoder(Message)
_gap = msgspec.json.Decoder(Gap)
_live = msgspec.json.Decoder(Live)
_page = msgspec.json.Decoder(_Page)
_rooms = msgspec.json.Decoder(shapes.Rooms[Room])
_followers = msgspec.json.Decoder(Followers)
_ticket = msgspec.json.Decoder(IssuedTicket)
_list = msgspec.json.Decoder(list[Raw])
_BAD = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_RESERVED = ("open", "error")


def heard(event: Event) -> Message | Gap | Live | None:
    """What an event of a stream says; None for what only later versions know. Raises `Refused` where it is not
    what roomcast says."""
    try:
        if event.type == "gap":
            return msgspec.structs.replace(_gap.decode(event.data), id=event.id)
        if event.type == "live":
            return msgspec.structs.replace(_live.decode(event.data), id=event.id)
        if event.type in _RESERVED or event.type.startswith("roomcast."):
            return None
        return message(event.data)
    except _BAD as error:
        raise _foreign(event.data, error) from None


def message(text: str) -> Message:
    """The message that a line of JSON is."""
    decoded = _message.decode(text)
    msgspec.structs.force_setattr(decoded, "json", text)
    return decoded


def page(body: bytes) -> Page:
    """Raises `Refused`."""
    try:
        decoded = _page.decode(body)
        return Page([message(bytes(raw).decode()) for raw in decoded.messages], decoded.position, decoded.gap)
    except _BAD as error:
        raise _foreign(body, error) from None


def messages(body: bytes) -> list[Message]:
    """One message, or an array of them. Raises `Refused`."""
    try:
        raws = _list.decode(body) if body.lstrip()[:1] == b"[" else [body]
        return [message(bytes(raw).decode()) for raw in raws]
    except _BAD as error:
        raise _foreign(body, error) from None


def rooms(body: bytes) -> Sequence[Room]:
    """Raises `Refused`."""
    try:
        return _rooms.decode(body).rooms
    except _BAD as error:
        raise _foreign(body, error) from None


def followers(body: bytes) -> Followers:
    """Raises `Refused`."""
    try:
        return _followers.decode(body)
    except _BAD as error:
        raise _foreign(body, error) from None


def ticket(body: bytes) -> IssuedTicket:
    """Raises `Refused`, which shows nothing of it."""
    try:
        return _ticket.decode(body)
    except _BAD:
        raise Refused("this is not what roomcast says of a ticket") from None


def deleted(body: bytes) -> None:
    """Raises `Refused` where an answer to a delete has a body: roomcast's has none."""
    if body:
        raise Refused(f"this is not what roomcast says of a delete: {body[:100]!r}")


def _foreign(said: str | bytes, error: Exception) -> Refused:
    return Refused(f"this is not what roomcast says: {said[:100]!r} ({error})")
