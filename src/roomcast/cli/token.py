"""`roomcast token`."""

from __future__ import annotations

import math
import os
import sys
import time
from typing import Any

import click

from roomcast.auth.from_settings import secrets_from
from roomcast.auth.tokens.sign import sign
from roomcast.cli import CONFIG_VARIABLE
from roomcast.cli.duration import Duration
from roomcast.model.errors import CannotStart
from roomcast.model.fields import check
from roomcast.model.settings.grant import parse_grant
from roomcast.serve.configuration import Configuration

_LONGEST = 30 * 24 * 3600
"""Longest validity in seconds: servers refuse a token that ends later."""


def _name(ctx: click.Context, param: click.Parameter, text: str | None) -> str | None:
    if text is not None and (wrong := check("user", text)):
        raise click.BadParameter(wrong)
    return text


def _grants(ctx: click.Context, param: click.Parameter, texts: tuple[str, ...]) -> list[str]:
    try:
        return [parse_grant(text) for text in texts]
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _seconds(ctx: click.Context, param: click.Parameter, seconds: float) -> float:
    if not 1 <= seconds <= _LONGEST:
        raise click.BadParameter("must be a time from 1s to 30d")
    return seconds


@click.command("token")
@click.option("--sub", required=True, metavar="NAME", callback=_name, help="The holder's name.")
@click.option("--read", multiple=True, metavar="GRANT", callback=_grants, help="A room, or a prefix and *.")
@click.option("--publish", multiple=True, metavar="GRANT", callback=_grants, help="A room, or a prefix and *.")
@click.option("--user", metavar="NAME", callback=_name, help="The user of its messages; that of --sub.")
@click.option(
    *("--for", "seconds"),
    type=Duration(),
    default="15m",
    show_default=True,
    callback=_seconds,
    help="How long it is good, 30d at most.",
)
@click.option("--secret-file", metavar="FILE", help="File of the secret; that of the server by default.")
@click.option("--config", envvar=CONFIG_VARIABLE, show_envvar=True, metavar="FILE", help="The server's file.")
def command(
    sub: str,
    read: list[str],
    publish: list[str],
    user: str | None,
    seconds: float,
    secret_file: str | None,
    config: str | None,
) -> None:
    """Sign a token with the server's secret.

    Prints it, as a program of yours would make it. No server is asked: the secret is that of --secret-file, or of
    the server's file and variables. Options that name rooms may be repeated."""
    given = {"secret_files": (secret_file,)} if secret_file else {}
    try:
        secrets = secrets_from(Configuration(given, os.environ, config or None).settings)
    except CannotStart as error:
        click.echo(f"roomcast: {error.detail}", err=True)
        sys.exit(2)
    if not secrets:
        raise click.UsageError("say what to sign with: --secret-file, or --config with secret_files")
    now = math.floor(time.time())
    own: dict[str, Any] = {"read": read, "publish": publish} | ({"user": user} if user else {})
    click.echo(
        sign(secrets.signing.text, {"sub": sub, "iat": now, "exp": now + math.ceil(seconds), "roomcast": own})
    )
