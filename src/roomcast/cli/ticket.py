"""`roomcast ticket`."""

from __future__ import annotations

import click

from roomcast.cli import formatting
from roomcast.cli.command import Command, Server, with_server
from roomcast.cli.completing import room_names
from roomcast.cli.duration import Duration


@click.command("ticket", cls=Command)
@click.option(
    "--room",
    "rooms",
    multiple=True,
    metavar="ROOM",
    shell_complete=room_names,
    help="Room that may be read; repeatable.",
)
@click.option(
    "--prefix",
    "prefixes",
    multiple=True,
    metavar="PREFIX",
    help="Rooms whose names begin with PREFIX may be read; repeatable.",
)
@click.option(
    "--publish", multiple=True, metavar="ROOM", help="Room that may be published to; repeatable. Needs --sub."
)
@click.option("--sub", metavar="NAME", help="The person that it is for, as your application names them.")
@click.option(
    "--user",
    metavar="NAME",
    help="The user of the messages published with it.  [default: the credential's user, or anonymous]",
)
@click.option(
    "--for", "seconds", type=Duration(), default="1h", show_default=True, help="How long it is valid, such as 15m."
)
@with_server
def command(
    server: Server,
    rooms: tuple[str, ...],
    prefixes: tuple[str, ...],
    publish: tuple[str, ...],
    sub: str | None,
    user: str | None,
    seconds: float,
) -> None:
    """Get a ticket: a credential for some rooms, for a while.

    Prints the ticket. Your own credential in ROOMCAST_TOKEN must have the same rights."""
    if not (rooms or prefixes or publish):
        raise click.UsageError("name the ticket's rooms with --room, --prefix or --publish")
    with server.client() as client:
        issued = client.ticket(*rooms, prefixes=prefixes, publish=publish, sub=sub, user=user, seconds=seconds)
    if issued.url and formatting.in_terminal(err=True):
        formatting.say(f"open a stream within {issued.opens_in:g} s at {server.url}{issued.url}")
    click.echo(issued.ticket)
