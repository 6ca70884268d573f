"""`roomcast backup`."""

from __future__ import annotations

import os
import sys

import apsw
import click

from roomcast.cli import config_option
from roomcast.cli.command import Command
from roomcast.cli.formatting import say
from roomcast.cli.progress import Progress
from roomcast.log import file_of
from roomcast.log.sqlite.backup import back_up
from roomcast.log.sqlite.errors import unusable
from roomcast.model.errors import BadOption, CannotStart, LogUnusable
from roomcast.model.settings import OPTIONS
from roomcast.serve.configuration import Configuration

_INSTEAD = {
    "memory": "a log in memory ends with its server: write its messages to a file with roomcast export",
    "mongodb": "back up a log in MongoDB with MongoDB's own tools, such as mongodump --archive=FILE",
    "mongodb+srv": "back up a log in MongoDB with MongoDB's own tools, such as mongodump --archive=FILE",
    "postgresql": "back up a log in PostgreSQL with PostgreSQL's own tools, such as pg_dump --file=FILE",
    "postgres": "back up a log in PostgreSQL with PostgreSQL's own tools, such as pg_dump --file=FILE",
}


@click.command("backup", cls=Command)
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--log", help="The server's log, as for roomcast serve.  [default: sqlite:roomcast.db]")
@config_option
def command(file: str, log: str | None, config: str | None) -> None:
    """Copy the log of a running server to FILE.

    The copy is one file with the state of one moment. Run the command on the server's machine, as a user who may
    read the log that --log, ROOMCAST_LOG or the configuration file names. A server that is started with the copy
    begins a new epoch, so that no id is used for two messages.

    Only for a log in SQLite. Exits with 1 if there is no such log, or if FILE exists."""
    try:
        given = {} if log is None else {"log": log}
        url = Configuration(given, os.environ, config or None).settings.log
    except CannotStart as error:
        say(error.detail)
        sys.exit(2 if isinstance(error, BadOption) else 1)
    if not (path := file_of(url)):
        raise LogUnusable(
            _INSTEAD.get(
                url.partition(":")[0],
                f"{OPTIONS['log'].flag} must name a log in SQLite, such as sqlite:roomcast.db",
            )
        )
    progress = Progress("bytes copied")
    try:
        size = back_up(path, file, lambda done, of: progress.show(done, of))
    except apsw.Error as error:
        raise unusable(path, error) from error
    finally:
        progress.done()
    say(f"{file} has {size:,} bytes; check it for damage with: roomcast check {file}")
