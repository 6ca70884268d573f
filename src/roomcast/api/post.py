"""`POST /rooms/{room}`, for shells and webhooks: a JSON body becomes a message's data, any other its text."""

from __future__ import annotations

from functools import partial

from roomcast.api.parameters import QueryParameters, parameters
from roomcast.api.publish import Envelope, checked_encoding, media_type_of
from roomcast.api.query import room_fault
from roomcast.api.request import Head
from roomcast.model import draft
from roomcast.model.errors import Fault, UnsupportedMediaType
from roomcast.model.fields import ANONYMOUS, check

PREFIX = "/rooms/"


def envelope(head: Head) -> Envelope:
    """How to parse the body, by the path, the query and the media type in `head`. Raises `Invalid` and
    `UnsupportedMediaType`."""
    media_type = media_type_of(head)
    if media_type.startswith("multipart/"):
        raise UnsupportedMediaType("send the message as the body itself: with curl, -d or --data-binary, not -F")
    checked_encoding(head)
    fields = _fields(head)
    room, user, type = fields
    of_body = draft.json_data if media_type == "application/json" else draft.plain_text
    fingerprint = "\n".join([media_type, room, user or ANONYMOUS, type or ""]).encode()

    def steps(body: bytes, max_bytes: int, only_user: str | None) -> draft.Steps:
        return of_body(body, fields, max_bytes, only_user)

    def parse(body: bytes, max_bytes: int, only_user: str | None = None) -> draft.PublishRequest:
        return draft.finished(steps(body, max_bytes, only_user))

    return Envelope(parse, steps, fingerprint)


def _fields(head: Head) -> draft.Fields:
    room = head.path.removeprefix(PREFIX)
    given = QueryParameters(parameters(head.query), ("user", "type"))
    if wrong := room_fault(room):
        given.faults.append(Fault("/room", wrong))
    user, type = given.once("user", partial(_checked, "user")), given.once("type", partial(_checked, "type"))
    given.check()
    return draft.Fields(room, user, type)


def _checked(name: str, value: str) -> str:
    if wrong := check(name, value):
        raise ValueError(wrong)
    return value
