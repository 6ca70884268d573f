"""Messages, gaps, pages and the other answers of the server, typed, and decoded from its JSON."""

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
    """A message to publish. `text` may be left out if there is `data`."""

    room: str
    text: NotRequired[str]
    data: NotRequired[Any]
    type: NotRequired[str]
    user: NotRequired[str]


class Message(shapes.StoredMessage[datetime], frozen=True):
    """A stored message. `data` is None both for JSON's null and for no data: `json` shows the difference."""

    json: str = ""
    """The whole message as the server sent it: one line."""


class Stored(list[Message]):
    """The messages of a batch as they are stored."""

    known = False
    """Whether an earlier request with the same idempotency key had stored them."""


class IssuedTicket(Struct, frozen=True):
    """A ticket, and how to use it."""

    ticket: str
    """The credential. Send it as a bearer token."""
    opens_in: float
    """Seconds in which a stream may be opened at `url`; later it can only be resumed."""
    ends_in: float
    """Seconds after which the server rejects it."""
    url: str | None = None
    """The path of a stream of its rooms; None if no room may be read with it."""


class Gap(shapes.Gap, frozen=True):
    """Messages after `after` and before `resumes_at` may be lost."""

    id: str = ""
    """The position just before `resumes_at`."""


class Live(shapes.Live, frozen=True):
    """The replay is over; the next messages are new."""

    id: str = ""
    """The position that the stream has reached."""


class Page(shapes.HistoryPage[Message], frozen=True):
    """A page of history. `follow(..., last_event_id=page.position)` continues exactly after it."""

    gap: Gap | None


class Room(shapes.Room[datetime], frozen=True):
    """A room that has messages or followers."""


class FollowerInfo(shapes.FollowerInfo[datetime], frozen=True):
    """A follower, and how far it has got."""


class Followers(shapes.Followers[FollowerInfo], frozen=True):
    """The followers of all workers that answered."""


class _Page(shapes.HistoryPage[Raw], frozen=True):
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
_CHECK = "check that a roomcast server answers at this URL"


def from_event(event: Event) -> Message | Gap | Live | None:
    """The item that `event` means. None for `roomcast.end`, which `StreamState` reads, and for an event of a later
    version. Raises `Refused` for an event that roomcast does not send."""
    try:
        if event.type == "gap":
            return msgspec.structs.replace(_gap.decode(event.data), id=event.id)
        if event.type == "live":
            return msgspec.structs.replace(_live.decode(event.data), id=event.id)
        if event.type in _RESERVED or event.type.startswith("roomcast."):
            return None
        return message(event.data)
    except _BAD as error:
        raise _not_from_roomcast(event.data, error) from None


def message(text: str) -> Message:
    """Decodes `text`, one line of JSON. Raises an error of msgspec's if it is not a message."""
    decoded = _message.decode(text)
    msgspec.structs.force_setattr(decoded, "json", text)
    return decoded


def page(body: bytes) -> Page:
    """Decodes `body`, a page of history. Raises `Refused` if it is not one."""
    try:
        decoded = _page.decode(body)
        return Page([message(bytes(raw).decode()) for raw in decoded.messages], decoded.position, decoded.gap)
    except _BAD as error:
        raise _not_from_roomcast(body, error) from None


def single(body: bytes) -> Message:
    """Decodes `body`, one message. Raises `Refused` if it is not one."""
    try:
        return message(body.decode())
    except _BAD as error:
        raise _not_from_roomcast(body, error) from None


def batch(body: bytes) -> list[Message]:
    """Decodes `body`, an array of messages. Raises `Refused` if it is not one."""
    try:
        return [message(bytes(raw).decode()) for raw in _list.decode(body)]
    except _BAD as error:
        raise _not_from_roomcast(body, error) from None


def rooms(body: bytes) -> Sequence[Room]:
    """Decodes `body`, a page of rooms. Raises `Refused` if it is not one."""
    try:
        return _rooms.decode(body).rooms
    except _BAD as error:
        raise _not_from_roomcast(body, error) from None


def followers(body: bytes) -> Followers:
    """Decodes `body`, a page of followers. Raises `Refused` if it is not one."""
    try:
        return _followers.decode(body)
    except _BAD as error:
        raise _not_from_roomcast(body, error) from None


def ticket(body: bytes) -> IssuedTicket:
    """Decodes `body`, an issued ticket. Raises `Refused`, which shows no part of the ticket."""
    try:
        return _ticket.decode(body)
    except _BAD:
        raise Refused(f"this answer is not a ticket from roomcast: {_CHECK}") from None


def check_empty(body: bytes) -> None:
    """Raises `Refused` if `body` has any bytes: roomcast answers a delete or a revocation without a body."""
    if body:
        raise Refused(f"this answer is not from roomcast, which would send no body: {body[:100]!r}; {_CHECK}")


def _not_from_roomcast(answer: str | bytes, error: Exception) -> Refused:
    return Refused(f"this answer is not from roomcast: {answer[:100]!r} ({error}); {_CHECK}")
