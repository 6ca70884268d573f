"""`DELETE /messages/{id}` and `DELETE /rooms/{room}`: for messages published by mistake."""

from __future__ import annotations

from roomcast.api.answer import NO_FIELDS, Answer
from roomcast.api.history import known_id
from roomcast.api.post import PREFIX
from roomcast.api.query import room_fault
from roomcast.api.request import Head, Request
from roomcast.delivery.engine import Engine
from roomcast.model.errors import Fault, Gone, Invalid


def parse_room(head: Head) -> str:
    """The room that the path of `head` names. Raises `Invalid`."""
    return checked_room(head.path.removeprefix(PREFIX))


def checked_room(name: str) -> str:
    """Returns `name` if it is a valid room name. Raises `Invalid` otherwise."""
    if wrong := room_fault(name):
        raise Invalid(f"room {wrong}", [Fault("/room", wrong)])
    return name


async def message(engine: Engine, request: Request, text: str) -> Answer:
    """`DELETE /messages/{id}`: answers 204 when `delete_message` is done. `engine`, `text` and the errors are
    those of `delete_message`; `request` is not used."""
    await delete_message(engine, text)
    return Answer(204, NO_FIELDS)


async def delete_message(engine: Engine, text: str) -> None:
    """Deletes the message with the id `text` from the log of `engine`; returns when that is durable. Raises
    `NotFound` for an id that no message ever had, `Gone` if it is no longer retained, `NotOffered` if the log
    cannot delete, and `LogUnavailable`."""
    id = await known_id(engine, text)
    if not await engine.log.delete(id.seq):
        raise Gone(f"message {id} is no longer retained")


async def whole_room(engine: Engine, request: Request, name: str) -> Answer:
    """`DELETE /rooms/{room}`: answers 204 when `delete_room` is done. `engine`, `name` and the errors are those of
    `delete_room`; `request` is not used."""
    await delete_room(engine, name)
    return Answer(204, NO_FIELDS)


async def delete_room(engine: Engine, name: str) -> None:
    """Deletes all messages that the room `name` has now from the log of `engine`; returns when that is durable.
    Raises `NotOffered` if the log cannot delete, and `LogUnavailable`."""
    engine.check()
    await engine.log.delete_room(name)
