"""`roomcast rooms`."""

from __future__ import annotations

from collections.abc import Iterable

import click

from roomcast.cli import formatting
from roomcast.cli.command import Command, Server, with_server
from roomcast.client import Room
from roomcast.terminal import aligned

_HEADINGS = ("room", "messages", "followers", "newest")


@click.command("rooms", cls=Command)
@with_server
def command(server: Server) -> None:
    """List the rooms that have messages or followers.

    A table in a terminal, elsewhere a line of JSON for each room."""
    with server.client() as client:
        rooms = client.rooms()
    lines: Iterable[str | bytes] = _table(rooms) if formatting.in_terminal() else map(formatting.as_json, rooms)
    for line in lines:
        click.echo(line)


def _table(rooms: list[Room]) -> list[str]:
    headings, *rows = aligned([_HEADINGS, *map(_row, rooms)], numbers=True)
    return [click.style(headings, bold=True), *rows]


def _row(room: Room) -> tuple[str, ...]:
    newest = formatting.local(room.newest_at) if room.newest_at else ""
    return formatting.printable(room.room), f"{room.messages:,}", f"{room.followers:,}", newest
