"""`POST /rooms/{room}`: the way of shells and webhooks. JSON is a message's data, any other body its text."""

from __future__ import annotations

from functools import partial

from roomcast.api.parameters import Given, parameters
from roomcast.api.publish import Envelope, checked_encoding, media_type_of
from roomcast.api.query import room_fault
from roomcast.api.request import Head
from roomcast.model import draft
from roomcast.model.errors import Fault, UnsupportedMediaType
from roomcast.model.fields import check

PREFIX = "/rooms/"


def envelope(head: Head) -> Envelope:
    """What the head says of the message. Raises `Invalid` and `UnsupportedMediaType`."""
    media_type = media_type_of(head)
    if media_type.startswith("multipart/"):
        raise UnsupportedMediaType("send the message as the body itself: with curl, -d or --data-binary, not -F")
    checked_encoding(head)
    room, user, type = _fields(head)
    of_body = draft.json_data if media_type == "application/json" else draft.plain_text
    same = "\n".join([media_type, room, user, type or ""]).encode()

    def steps(body: bytes, most: int) -> draft.Steps:
        return of_body(body, room, user, type, most)

    return Envelope(lambda body, most: draft.finished(steps(body, most)), steps, same)


def _fields(head: Head) -> tuple[str, str, str | None]:
    room = head.path.removeprefix(PREFIX)
    given = Given(parameters(head.query), ("user", "type"))
    if wrong := room_fault(room):
        given.faults.append(Fault("/room", wrong))
    user, type = given.once("user", partial(_checked, "user")), given.once("type", partial(_checked, "type"))
    given.check()
    return room, user or "anonymous", type


def _checked(name: str, value: str) -> str:
    if wrong := check(name, value):
        raise ValueError(wrong)
    return value
