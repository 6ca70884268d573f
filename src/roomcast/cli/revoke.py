"""`roomcast revoke`."""

from __future__ import annotations

import click

from roomcast.cli.command import Command, Server, to_server


@click.command("revoke", cls=Command)
@click.argument("sub")
@click.option("--iss", metavar="ISSUER", help="Only tokens of this issuer; by default of all issuers.")
@click.option(
    "--before", metavar="TIME", help="Only older ones, such as before 2026-11-22T06:27:00Z; now by default."
)
@to_server
def command(server: Server, sub: str, iss: str | None, before: str | None) -> None:
    """End a person's tokens and tickets.

    SUB is the person's name in them. Their streams end, too. New ones stay valid. ROOMCAST_TOKEN must be a key
    with the admin right."""
    with server.client() as client:
        client.revoke(sub, iss=iss, before=before)
