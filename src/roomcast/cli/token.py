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
from roomcast.cli import config_option
from roomcast.cli.duration import Duration
from roomcast.cli.formatting import say
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
@click.option(
    "--sub", required=True, metavar="NAME", callback=_name, help="The name of the person that it is for."
)
@click.option(
    "--read",
    multiple=True,
    metavar="GRANT",
    callback=_grants,
    help="Room that may be read, or a prefix with *; repeatable.",
)
@click.option(
    "--publish",
    multiple=True,
    metavar="GRANT",
    callback=_grants,
    help="Room that may be published to, or a prefix with *; repeatable.",
)
@click.option(
    "--user", metavar="NAME", callback=_name, help="The user of the messages published with it.  [default: SUB]"
)
@click.option(
    *("--for", "seconds"),
    type=Duration(),
    default="15m",
    show_default=True,
    callback=_seconds,
    help="How long it is valid, 30d at most.",
)
@click.option("--secret-file", metavar="FILE", help="File with the secret.  [default: the server's]")
@config_option
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

    Prints a token like those that your own program makes. No server is asked: the secret comes from --secret-file,
    or from the server's configuration file and variables."""
    given = {"secret_files": (secret_file,)} if secret_file else {}
    try:
        secrets = secrets_from(Configuration(given, os.environ, config or None).settings)
    except CannotStart as error:
        say(error.detail)
        sys.exit(2)
    if not secrets:
        raise click.UsageError(
            "there is no secret to sign with: give --secret-file, or a --config with secret_files"
        )
    now = math.floor(time.time())
    own: dict[str, Any] = {"read": read, "publish": publish} | ({"user": user} if user else {})
    click.echo(
        sign(secrets.signing.text, {"sub": sub, "iat": now, "exp": now + math.ceil(seconds), "roomcast": own})
    )
