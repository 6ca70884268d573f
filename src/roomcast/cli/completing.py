"""Completion of room names in a shell."""

from __future__ import annotations

import os
import re
import threading
from contextlib import suppress

import click
from click.shell_completion import CompletionItem

from roomcast.cli import URL_VARIABLE
from roomcast.cli.command import DEFAULT_URL
from roomcast.client import Client

_SECONDS = 1.0
"""How long a person waits at most after pressing the tab key."""
_PLAIN = re.compile(r"\w[\w@%+=:,./-]*")
"""Names that no shell needs quoted. Others must be quoted in each shell's way, and some would write over the
terminal."""


def room_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """A `shell_complete` of click: the server's rooms whose names begin with `incomplete`; none if it does not
    answer within a second. The URL and the headers are those in `ctx`; `param` may be any."""
    url = ctx.params.get("url") or os.environ.get(URL_VARIABLE, DEFAULT_URL)
    found: list[str] = []
    asking = threading.Thread(target=_ask, args=(url, ctx.params.get("headers"), found), daemon=True)
    asking.start()
    asking.join(_SECONDS)
    return [CompletionItem(room) for room in found if room.startswith(incomplete) and _PLAIN.fullmatch(room)]


def _ask(url: str, headers: dict[str, str] | None, found: list[str]) -> None:
    # No error may be printed into the prompt.
    with suppress(Exception), Client(url, headers=headers, patience=0) as client:
        found += [room.room for room in client.rooms()]
