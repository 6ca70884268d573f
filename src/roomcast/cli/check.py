"""`roomcast check`."""

from __future__ import annotations

import sys

import apsw
import click

from roomcast.cli.command import Command
from roomcast.cli.formatting import printable, say
from roomcast.cli.progress import Progress
from roomcast.log.sqlite.errors import unusable
from roomcast.log.sqlite.examination import examine
from roomcast.model.errors import LogUnusable

_DAMAGED, _UNREADABLE = 1, 2


@click.command("check", cls=Command)
@click.argument("file", type=click.Path(dir_okay=False))
def command(file: str) -> None:
    """Check a log in SQLite, or a copy of one, for damage.

    Reads all of it: pages and indexes, whether the tables agree, and for each message whether it is JSON and its
    predecessor in the room is there. A change within a text cannot be found. FILE is not changed, and a server may
    have it open.

    Exits with 0 if FILE is sound, with 1 if it is damaged, and with 2 if it cannot be read or is not a log of
    roomcast."""
    progress = Progress("messages checked")
    try:
        found = examine(file, progress.show)
    except LogUnusable as error:
        progress.done()
        say(error.detail)
        sys.exit(_UNREADABLE)
    except apsw.CorruptError as error:
        progress.done()
        what = printable(" ".join(str(error).removeprefix("CorruptError: ").split()))
        click.echo(f"{file} is damaged: {what}")
        sys.exit(_DAMAGED)
    except (apsw.Error, OSError) as error:
        progress.done()
        say(unusable(file, error).detail)
        sys.exit(_UNREADABLE)
    progress.done()
    click.echo(
        f"{file} is sound: {found.messages:,} messages of {found.rooms:,} rooms, up to number {found.newest}"
    )
