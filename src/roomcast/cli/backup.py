"""`roomcast backup`."""

from __future__ import annotations

import os
import sys

import apsw
import click

from roomcast.cli import CONFIG_VARIABLE
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
    "memory": "a log in memory ends with its server: roomcast export writes its messages to a file",
    "mongodb": "a log in MongoDB is backed up by MongoDB's own tools, such as mongodump --archive=FILE",
    "mongodb+srv": "a log in MongoDB is backed up by MongoDB's own tools, such as mongodump --archive=FILE",
    "postgresql": "a log in PostgreSQL is backed up by PostgreSQL's own tools, such as pg_dump --file=FILE",
    "postgres": "a log in PostgreSQL is backed up by PostgreSQL's own tools, such as pg_dump --file=FILE",
}


@click.command("backup", cls=Command)
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--log", help="The server's log, as in roomcast serve.  [default: sqlite:roomcast.db]")
@click.option("--config", envvar=CONFIG_VARIABLE, show_envvar=True, metavar="FILE", help="The server's file.")
def command(file: str, log: str | None, config: str | None) -> None:
    """Copy the log of a server to FILE, while it runs.

    The copy is whole as of one moment, and one file. Make it on the server's machine, as a user who may read its
    database: that is the one of --log, ROOMCAST_LOG or the server's file. A server that is started with the copy
    begins a new epoch, so that no id means two messages.

    For a log in SQLite. Exits with 1 where there is no such log, or FILE is there already."""
    try:
        given = {} if log is None else {"log": log}
        url = Configuration(given, os.environ, config or None).settings.log
    except CannotStart as error:
        say(error.detail)
        sys.exit(2 if isinstance(error, BadOption) else 1)
    if not (path := file_of(url)):
        raise LogUnusable(_INSTEAD.get(url.partition(":")[0], f"{OPTIONS['log'].flag} names no log in SQLite"))
    progress = Progress("bytes copied")
    try:
        size = back_up(path, file, lambda done, of: progress.show(done, of))
    except apsw.Error as error:
        raise unusable(path, error) from error
    finally:
        progress.done()
    say(f"{file} has {size:,} bytes; roomcast check {file} looks whether it is sound")
