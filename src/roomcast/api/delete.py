"""`DELETE /messages/{id}` and `DELETE /rooms/{room}`: for messages published by mistake."""

from __future__ import annotations

from roomcast.api.history import known_id
from roomcast.api.post import PREFIX
from roomcast.api.query import room_fault
from roomcast.api.request import NO_FIELDS, Answer, Head, Request
from roomcast.delivery.engine import Engine
from roomcast.model.errors import Fault, Gone, Invalid


def parse_room(head: Head) -> str:
    """The room that a path names. Raises `Invalid`."""
    return checked_room(head.path.removeprefix(PREFIX))


def checked_room(name: str) -> str:
    """Returns `name` if it is a valid room name. Raises `Invalid`."""
    if wrong := room_fault(name):
        raise Invalid(f"room {wrong}", [Fault("/room", wrong)])
    return name


async def message(engine: Engine, request: Request, text: str) -> Answer:
    """Deletes one message; answers when that is durable."""
    await delete_message(engine, text)
    return Answer(204, NO_FIELDS)


async def delete_message(engine: Engine, text: str) -> None:
    """Deletes the message with this id. Raises `NotFound`, `Gone`, `NotOffered`, `LogUnavailable`."""
    id = await known_id(engine, text)
    if not await engine.log.delete(id.seq):
        raise Gone(f"message {id} is no longer retained")


async def whole_room(engine: Engine, request: Request, name: str) -> Answer:
    """Deletes a room's messages; answers when that is durable."""
    await delete_room(engine, name)
    return Answer(204, NO_FIELDS)


async def delete_room(engine: Engine, name: str) -> None:
    """Deletes a room's messages. Raises `NotOffered`, `LogUnavailable`."""
    engine.check()
    await engine.log.delete_room(name)
