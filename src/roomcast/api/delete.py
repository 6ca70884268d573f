"""`DELETE /messages/{id}` and `DELETE /rooms/{room}`: what was published by mistake, or must not stay."""

from __future__ import annotations

from roomcast.api.history import known_id
from roomcast.api.post import PREFIX
from roomcast.api.query import room_fault
from roomcast.api.request import NO_FIELDS, Answer, Head, Request
from roomcast.delivery.engine import Engine
from roomcast.model.errors import Fault, Gone, Invalid


def room(head: Head) -> str:
    """The room that a path names. Raises `Invalid`."""
    name = head.path.removeprefix(PREFIX)
    if wrong := room_fault(name):
        raise Invalid(f"room {wrong}", [Fault("/room", wrong)])
    return name


async def message(engine: Engine, request: Request, text: str) -> Answer:
    """Deletes one message; the answer comes when that is durable."""
    id = await known_id(engine, text)
    if not await engine.log.delete(id.seq):
        raise Gone(f"message {id} was stored, and is no longer retained")
    return Answer(204, NO_FIELDS)


async def whole_room(engine: Engine, request: Request, name: str) -> Answer:
    """Deletes all that a room has; the answer comes when that is durable."""
    engine.check()
    await engine.log.delete_room(name)
    return Answer(204, NO_FIELDS)
