"""`roomcast delete`."""

from __future__ import annotations

import sys

import click

from roomcast.cli import formatting
from roomcast.cli.command import Command, Server, to_server
from roomcast.cli.completing import room_names


@click.command("delete", cls=Command)
@click.argument("message_id", required=False)
@click.option("--room", metavar="ROOM", shell_complete=room_names, help="Delete all messages of this room.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@to_server
def command(server: Server, message_id: str | None, room: str | None, yes: bool) -> None:
    """Delete a message, or all messages of a room.

    A client that has a message keeps it. In a terminal it asks first. ROOMCAST_TOKEN must be a credential with
    the admin right, where the server has rights."""
    if (message_id is None) == (room is None):
        raise click.UsageError("say what is to be deleted: a message's id, or --room")
    what = f"message {message_id}" if room is None else f"all messages of {formatting.printable(room)}"
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {what} for good?", abort=True, err=True)
    with server.client() as client:
        if room is not None:
            client.delete_room(room)
        elif message_id is not None:
            client.delete(message_id)
