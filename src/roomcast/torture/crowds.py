"""Crowds: cheap attacks by strangers. Each opens many connections until it is cancelled. They stay small: a server
must withstand about a megabyte a second from anybody."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from urllib.parse import urlencode

from roomcast.torture.target import RawConnection, Target

_JSON = {"Accept": "application/json"}
_POST = {"Content-Type": "application/json"}
_FIELDS = b"a:\r\n" * 1_000
_AGAIN = 0.1
"""Seconds before a closed connection is opened again."""
_NESTED = (b"[" * 65_536, b'{"room":"a","data":' + b"[" * 900_000, b"[" * 500 + b"0," * 400_000)

Behaviour = Callable[[RawConnection], Awaitable[None]]
"""The behaviour of one connection of a crowd."""


async def _stay_silent(target: Target, room: str) -> None:
    """Opens 1,000 connections to `target` and sends nothing."""
    await _crowd(target, 1_000, lambda connection: _hold(connection, b""))


async def _send_half_a_head(target: Target, room: str) -> None:
    """Sends `target` a head without its end, over 1,000 connections."""
    await _crowd(target, 1_000, lambda connection: _hold(connection, target.head("GET", "/healthz", {})[:-2]))


async def _send_half_a_body(target: Target, room: str) -> None:
    """Sends `target` all but the last byte of a body of 900 KB, over 100 connections."""
    head = target.head("POST", "/messages", _POST | {"Content-Length": "900000"})
    await _crowd(target, 100, lambda connection: _hold(connection, head + b" " * 899_999))


async def _leave_answers_unread(target: Target, room: str) -> None:
    """Requests 200 pages of `room` on each of 200 connections to `target`, and reads none."""
    asked = target.head("GET", f"/messages?{urlencode({'room': room, 'limit': 1000})}", _JSON) * 200

    async def one(connection: RawConnection) -> None:
        connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
        connection.writer.write(asked)
        await asyncio.sleep(3_600)

    await _crowd(target, 200, one)


async def _hang_up(target: Target, room: str) -> None:
    """Requests a page of `room` from `target`, and hangs up, on 20 connections again and again."""
    asked = target.head("GET", f"/messages?{urlencode({'room': room, 'limit': 1000})}", _JSON)

    async def one(connection: RawConnection) -> None:
        connection.writer.write(asked)
        await asyncio.sleep(0.01)

    await _crowd(target, 20, one)


async def _nest(target: Target, room: str) -> None:
    """Sends `target` bodies of arrays in arrays, over 4 connections."""
    bodies = count()

    async def one(connection: RawConnection) -> None:
        await connection.send("POST", "/messages", _POST, _NESTED[next(bodies) % len(_NESTED)])
        await connection.answer()

    await _crowd(target, 4, one)


async def _never_end_a_head(target: Target, room: str) -> None:
    """Sends `target` header fields for ever, over 20 connections."""

    async def one(connection: RawConnection) -> None:
        connection.writer.write(target.head("GET", "/healthz", {})[:-2])
        while not connection.reader.at_eof():
            connection.writer.write(_FIELDS)
            await connection.writer.drain()
            await asyncio.sleep(0.01)

    await _crowd(target, 20, one)


async def _send_many_fields(target: Target, room: str) -> None:
    """Sends `target` a head of 15,000 fields, over 10 connections."""
    head = target.head("GET", "/healthz", {})[:-2] + _FIELDS * 15 + b"\r\n"
    await _crowd(target, 10, lambda connection: _hold(connection, head))


async def _flood_with_rooms(target: Target, room: str) -> None:
    """Follows 64 new rooms of `target`, whose names begin with `room`, on each of 300 connections, and requests
    the list of all rooms."""

    async def follow(connection: RawConnection) -> None:
        rooms = [("room", f"{room}-{secrets.token_hex(40)}") for _ in range(64)]
        path = f"/messages?{urlencode([*rooms, ('replay', 'none')])}"
        await _hold(connection, target.head("GET", path, {"Accept": "text/event-stream"}))

    async def ask(connection: RawConnection) -> None:
        await connection.send("GET", "/rooms", _JSON)
        await connection.answer()

    async with asyncio.TaskGroup() as both:
        both.create_task(_crowd(target, 300, follow))
        both.create_task(_crowd(target, 4, ask))


CROWDS: dict[str, Callable[[Target, str], Awaitable[None]]] = {
    "1,000 connections that say nothing": _stay_silent,
    "1,000 halves of a head": _send_half_a_head,
    "100 bodies without their last byte": _send_half_a_body,
    "200 pipelines of pages, none read": _leave_answers_unread,
    "pages hung up on at once": _hang_up,
    "bodies nested 65,536 deep and deeper": _nest,
    "heads without an end": _never_end_a_head,
    "heads of 15,000 fields": _send_many_fields,
    "300 followers of 64 new rooms each": _flood_with_rooms,
}


async def _crowd(target: Target, size: int, behave: Behaviour) -> None:
    """Keeps `size` connections busy, each again and again. Raises nothing but its cancellation."""
    async with asyncio.TaskGroup() as all_of_them:
        for number in range(size):
            all_of_them.create_task(_again_and_again(target, behave))
            if number % 20 == 0:  # the loop also has a witness to serve
                await asyncio.sleep(0.002)


async def _again_and_again(target: Target, behave: Behaviour) -> None:
    while True:
        with suppress(OSError, TimeoutError, ValueError):
            connection = await target.connect()
            try:
                await behave(connection)
            finally:
                connection.cut()
        await asyncio.sleep(_AGAIN)


async def _hold(connection: RawConnection, data: bytes) -> None:
    """Sends data, and stays until the server closes. Ignores the answer."""
    connection.writer.write(data)
    while await connection.reader.read(65_536):
        pass
