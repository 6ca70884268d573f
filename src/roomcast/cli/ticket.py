"""`roomcast ticket`."""

from __future__ import annotations

import click

from roomcast.cli import formatting
from roomcast.cli.command import Command, Server, to_server
from roomcast.cli.completing import room_names
from roomcast.cli.duration import Duration


@click.command("ticket", cls=Command)
@click.option("--room", "rooms", multiple=True, metavar="ROOM", shell_complete=room_names, help="May be read.")
@click.option("--prefix", "prefixes", multiple=True, metavar="PREFIX", help="Rooms that begin so may be read.")
@click.option("--publish", multiple=True, metavar="ROOM", help="May be published to; needs --sub.")
@click.option("--sub", metavar="NAME", help="Whom it is for, as your application names them.")
@click.option("--user", metavar="NAME", help="The user of what is published; anonymous by default.")
@click.option(
    "--for", "seconds", type=Duration(), default="1h", show_default=True, help="How long it is good, such as 15m."
)
@to_server
def command(
    server: Server,
    rooms: tuple[str, ...],
    prefixes: tuple[str, ...],
    publish: tuple[str, ...],
    sub: str | None,
    user: str | None,
    seconds: float,
) -> None:
    """Ask the server for a ticket: some rooms, for a while.

    Prints it. ROOMCAST_TOKEN must be a credential that has the rights itself. Options that name rooms may be
    repeated."""
    if not (rooms or prefixes or publish):
        raise click.UsageError("say what it is for: --room, --prefix or --publish")
    with server.client() as client:
        issued = client.ticket(*rooms, prefixes=prefixes, publish=publish, sub=sub, user=user, seconds=seconds)
    if issued.url and formatting.in_terminal(err=True):
        formatting.say(f"it opens streams within {issued.opens_in:g} s at {server.url}{issued.url}")
    click.echo(issued.ticket)
