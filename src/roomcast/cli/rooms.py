"""`roomcast rooms`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import click
import msgspec
from msgspec import UNSET

from roomcast.cli import formatting
from roomcast.cli.command import Command, Server, to_server
from roomcast.client import Room

_HEADINGS = ("room", "messages", "followers", "newest")


@click.command("rooms", cls=Command)
@to_server
def command(server: Server) -> None:
    """List the rooms that have messages or followers.

    In a terminal as a table, elsewhere each as a line of JSON."""
    with server.client() as client:
        rooms = client.rooms()
    lines: Iterable[str | bytes] = _table(rooms) if formatting.in_terminal() else map(_json, rooms)
    for line in lines:
        click.echo(line)


def _json(room: Room) -> bytes:
    """As the server writes it."""
    told = {name: _said(value) for name, value in msgspec.structs.asdict(room).items() if value is not UNSET}
    return msgspec.json.encode(told)


def _said(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value


def _table(rooms: list[Room]) -> list[str]:
    rows = [_row(room) for room in rooms]
    first, *rest = [max(map(formatting.width, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    aligned = [
        "  ".join(
            [
                formatting.padded(row[0], first),
                *(cell.rjust(width) for cell, width in zip(row[1:], rest, strict=True)),
            ]
        )
        for row in (_HEADINGS, *rows)
    ]
    return [click.style(aligned[0], bold=True), *aligned[1:]]


def _row(room: Room) -> tuple[str, ...]:
    newest = formatting.local(room.newest_at) if room.newest_at else ""
    return formatting.printable(room.room), f"{room.messages:,}", f"{room.followers:,}", newest
