"""`roomcast rights`."""

from __future__ import annotations

import asyncio
import os
import sys
import time

import click

from roomcast.auth.from_settings import rights_from
from roomcast.auth.grants import Grants
from roomcast.auth.principal import Principal
from roomcast.auth.rights import ConfiguredRights
from roomcast.cli import config_option
from roomcast.cli.formatting import say
from roomcast.cli.places import Places
from roomcast.model.errors import CannotStart, InvalidToken, RightsUnavailable
from roomcast.model.fields import check as check_field
from roomcast.model.settings import Settings
from roomcast.model.settings.issuer import Issuer
from roomcast.serve.configuration import Configuration

_REFUSED, _WRONG = 1, 2
"""Exit statuses: refused, and a mistake in the configuration."""


@click.group("rights")
def command() -> None:
    """Show who may read and publish."""


def _room(ctx: click.Context, param: click.Parameter, room: str | None) -> str | None:
    if room is not None and (wrong := check_field("room", room)):
        raise click.BadParameter(wrong)
    return room


@command.command("check", short_help="Show what a configuration allows, and by which line.")
@config_option
@click.option("--as", "credential", metavar="CREDENTIAL", help="Credential to check; - reads it from the input.")
@click.option("--read", metavar="ROOM", callback=_room, help="May they read this room?")
@click.option("--publish", metavar="ROOM", callback=_room, help="May they publish to this room?")
def check(config: str | None, credential: str | None, read: str | None, publish: str | None) -> None:
    """Show what a server with this configuration would allow, and by which line.

    The configuration is that of --config and of the server's variables ROOMCAST_.... Without --as it is about
    clients without a credential. Without --as and without a room it lists all rights.

    Exits with 0 if it is allowed, with 1 if it is refused, and with 2 if the configuration is wrong."""
    if read is not None and publish is not None:
        raise click.UsageError("give only one of --read and --publish")
    if credential == "-":
        credential = sys.stdin.read().strip()
    try:
        settings = Configuration({}, os.environ, config or None).settings
        rights, places = rights_from(settings), Places(config or None, settings, os.environ)
    except CannotStart as error:
        say(error.detail)
        sys.exit(_WRONG)
    verb, room = ("read", read) if read is not None else ("publish", publish)
    if room is None and credential is None:
        click.echo("\n".join(_listed(settings, rights, places)))
    else:
        if credential is not None:
            asyncio.run(_fetch_keys(rights))
        sys.exit(_judge(settings, rights, places, credential, verb, room))


async def _fetch_keys(rights: ConfiguredRights) -> None:
    rights.start_fetching()
    await rights.fetched()


def _judge(
    settings: Settings,
    rights: ConfiguredRights,
    places: Places,
    credential: str | None,
    verb: str,
    room: str | None,
) -> int:
    """Prints the answer. Returns the exit status."""
    if why := _everybody(settings, rights, credential):
        click.echo(f"allowed: {why}")
        return 0
    try:
        principal = rights.anonymous if credential is None else rights.identify(credential, time.time())
    except InvalidToken as error:
        click.echo(f"refused: {error.detail}: {error.reason}")
        return _REFUSED
    except RightsUnavailable as error:
        click.echo(f"refused: {error.detail}: its issuer's keys cannot be fetched, or lack its key")
        return _REFUSED
    if room is None:
        click.echo(_described(principal, places))
        return 0
    grants = principal.read if verb == "read" else principal.publish
    allowed = room in grants
    by = _granting(principal, grants, room) if allowed else ", ".join(map(repr, grants.texts())) or "nothing"
    click.echo(f"{'allowed' if allowed else 'refused'}: {places.describe(principal, verb)} may {verb} {by}")
    return 0 if allowed else _REFUSED


def _everybody(settings: Settings, rights: ConfiguredRights, credential: str | None) -> str | None:
    """The reason why everybody may do everything; None if rights are checked."""
    if settings.open and (credential is None or not rights.configured):
        return "the server is open (--open): everybody may"
    if not rights.configured:
        return "no rights are configured: everybody on the server's machine may, and nobody else is served"
    return None


def _listed(settings: Settings, rights: ConfiguredRights, places: Places) -> list[str]:
    strangers = _everybody(settings, rights, None) or _described(rights.anonymous, places)
    count = len([*rights.secrets])
    secrets = f"{count} secret{'' if count == 1 else 's'}" if count else "no secret, so there are no tickets"
    holders = [_described(holder, places) for holder in rights.keys]
    return [strangers, *holders, *(_templates(row, places) for row in settings.issuers), secrets]


def _templates(row: Issuer, places: Places) -> str:
    read, publish = (", ".join(map(repr, grants)) or "nothing" for grants in (row.read, row.publish))
    more = f", and what they name in their claim {row.claim}" if row.takes_claims else ""
    return f"{places.describe_issuer(row.iss or '', None)}: its tokens may read {read}; publish {publish}{more}"


def _described(principal: Principal, places: Places) -> str:
    read, publish = (
        ", ".join(map(repr, grants.texts())) or "nothing" for grants in (principal.read, principal.publish)
    )
    more = "".join(f", {verb}" for verb in ("metrics", "admin") if getattr(principal, verb))
    return f"{places.describe(principal, None)} may read {read}; publish {publish}{more}"


def _granting(principal: Principal, grants: Grants, room: str) -> str:
    """The grant that allows it."""
    if principal.ticket:
        return repr(room)
    return next(repr(text) for text in grants.texts() if room in Grants.parse([text]))
