"""Headers from options and from the environment. It imports no HTTP client: `roomcast torture` has its own."""

from __future__ import annotations

import os
from collections.abc import Iterable

import click

VARIABLE = "ROOMCAST_HEADER"
"""One header on each line. Options are visible to everybody on the machine in the list of processes."""
TOKEN_VARIABLE = "ROOMCAST_TOKEN"
"""A key, a ticket or a token, sent as a bearer token unless there is a header `Authorization`."""


def headers(given: Iterable[str]) -> dict[str, str]:
    """Returns the headers of the options `given`, each as `NAME:VALUE`, and of the environment, with its token. An
    option overrides a variable's header of the same name. Raises `click.BadParameter`."""
    chosen = dict(_pair(text) for text in given)
    names = {name.lower() for name in chosen}
    lines = os.environ.get(VARIABLE, "").splitlines()
    try:
        kept = dict(_pair(line) for line in lines if line.strip())
    except click.BadParameter:  # its text would show a secret
        raise click.BadParameter(
            "a line is not a header: write each line as NAME:VALUE", param_hint=VARIABLE
        ) from None
    both = {**{name: value for name, value in kept.items() if name.lower() not in names}, **chosen}
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    return both if not token or "authorization" in map(str.lower, both) else {**_bearer(token), **both}


def _bearer(token: str) -> dict[str, str]:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise click.BadParameter(
            "it is not a credential: set it to a key, a ticket or a token, without spaces",
            param_hint=TOKEN_VARIABLE,
        )
    return {"Authorization": f"Bearer {token}"}


def _pair(text: str) -> tuple[str, str]:
    name, colon, value = (part.strip() for part in text.partition(":"))
    if not colon or not name or not text.isascii() or not text.isprintable():
        raise click.BadParameter(f"{text!r} is not a header: write it as NAME:VALUE", param_hint="--header")
    return name, value


option = click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME:VALUE",
    callback=lambda ctx, param, values: headers(values),
    help=f"Header of each request; repeatable. Put secrets into {TOKEN_VARIABLE}, or into {VARIABLE} (one header "
    "on each line): other users see options.",
)
