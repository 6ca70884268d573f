"""`roomcast revoke`."""

from __future__ import annotations

import click

from roomcast.cli.command import Command, Server, with_server


@click.command("revoke", cls=Command)
@click.argument("sub")
@click.option(
    "--iss",
    metavar="ISSUER",
    help="Only tokens of this issuer, and tickets issued for them.  [default: all issuers]",
)
@click.option(
    "--before", metavar="TIME", help="Only those issued before TIME, such as 2026-11-22T06:27:00Z.  [default: now]"
)
@with_server
def command(server: Server, sub: str, iss: str | None, before: str | None) -> None:
    """End a person's tokens and tickets.

    SUB is the person's name in them. The streams opened with them end, too. Tokens and tickets issued later are
    valid. Needs a key with the admin right in ROOMCAST_TOKEN."""
    with server.client() as client:
        client.revoke(sub, iss=iss, before=before)
