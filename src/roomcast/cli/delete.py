"""`roomcast delete`."""

from __future__ import annotations

import sys

import click

from roomcast.cli import formatting
from roomcast.cli.command import Command, Server, with_server
from roomcast.cli.completing import room_names


@click.command("delete", cls=Command)
@click.argument("message_id", required=False)
@click.option("--room", metavar="ROOM", shell_complete=room_names, help="Delete all messages of this room.")
@click.option("--yes", is_flag=True, help="Delete without asking.")
@with_server
def command(server: Server, message_id: str | None, room: str | None, yes: bool) -> None:
    """Delete a message, or all messages of a room.

    Clients keep the messages that they already have. In a terminal it asks before it deletes. If the server has
    rights or runs with --open, it needs a key with the admin right in ROOMCAST_TOKEN."""
    if (message_id is None) == (room is None):
        raise click.UsageError("give the id of a message, or --room")
    what = f"message {message_id}" if room is None else f"all messages of {formatting.printable(room)}"
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {what} for ever?", abort=True, err=True)
    with server.client() as client:
        if room is not None:
            client.delete_room(room)
        elif message_id is not None:
            client.delete(message_id)
