"""What a shell completes beside options: the names of the rooms there are."""

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
"""How long somebody who pressed the tab key waits."""
_PLAIN = re.compile(r"\w[\w@%+=:,./-]*")
"""Names that every shell takes as they are. The others must be quoted, each shell's way, and some would write over
the terminal."""


def room_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Rooms of the server; none where it does not answer at once."""
    url = ctx.params.get("url") or os.environ.get(URL_VARIABLE, DEFAULT_URL)
    found: list[str] = []
    asking = threading.Thread(target=_ask, args=(url, ctx.params.get("headers"), found), daemon=True)
    asking.start()
    asking.join(_SECONDS)
    return [CompletionItem(room) for room in found if room.startswith(incomplete) and _PLAIN.fullmatch(room)]


def _ask(url: str, headers: dict[str, str] | None, found: list[str]) -> None:
    # Whatever goes wrong has no place in somebody's prompt.
    with suppress(Exception), Client(url, headers=headers, patience=0) as client:
        found += [room.room for room in client.rooms()]
