"""`roomcast export`."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click
import msgspec

from roomcast.cli import formatting
from roomcast.cli.batches import PATIENCE
from roomcast.cli.command import Command, Server, to_server
from roomcast.cli.completing import room_names
from roomcast.cli.progress import Progress
from roomcast.client import Client, Message
from roomcast.client.messages import message as parsed
from roomcast.model.errors import RoomcastError

_PAGE = 1000
_BEGINNING = b'{"id":"'
"""Of each line of an export."""
_TAIL = 1024 * 1024
"""Bytes at a file's end in which its last whole line is looked for: far more than a message may have."""


class NoExport(RoomcastError):
    """The file is not one that can be gone on with."""

    kind = "no-export"


@click.command("export", cls=Command)
@click.argument("rooms", nargs=-1, required=True, metavar="ROOM...", shell_complete=room_names)
@to_server
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Instead of stdout."
)
def command(server: Server, rooms: tuple[str, ...], output: Path | None) -> None:
    """Write what is retained of rooms, as lines of JSON.

    The oldest comes first. A FILE that exists is gone on with behind its last whole line: after an interruption,
    or every night. What is no longer retained by then is told as a gap, on stderr."""
    if output is None:
        with server.client() as client:
            _write(client, rooms, None, sys.stdout.buffer)
        return
    with _opened(output) as file, server.client(PATIENCE) as client:
        last = _last(file, output)
        if last is not None and last.room not in rooms:
            raise NoExport(f"{output} ends with a message of {last.room}: name that room, too, or another file")
        _write(client, rooms, last.id if last else None, file)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """The file, for this process only."""
    with path.open("a+b") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # some devices can be read for ever
            raise NoExport(f"{path} is no file: leave --output out, and redirect the output there")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NoExport(f"{path} is being written by another export") from None
        yield file


def _last(file: BinaryIO, path: Path) -> Message | None:
    """The message of the last whole line, behind which the file then ends. Raises `NoExport` before anything of
    somebody else's file is touched."""
    size = file.seek(0, os.SEEK_END)
    file.seek(start := max(0, size - _TAIL))
    *whole, rest = file.read().split(b"\n")
    try:
        last = parsed(whole[-1].decode()) if whole else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        last = None
    begun = rest.startswith(_BEGINNING[: len(rest)])
    if not begun or (last is None and (whole or start)):
        raise NoExport(f"{path} is no export that can be gone on with: name another file")
    file.truncate(size - len(rest))
    return last


def _write(client: Client, rooms: tuple[str, ...], after: str | None, file: BinaryIO) -> None:
    progress = Progress("messages exported")
    count = 0
    try:
        while True:
            page = client.history(*rooms, after=after, limit=_PAGE)
            if page.gap:
                progress.done()
                formatting.say(formatting.gap(page.gap))
            file.write(b"".join([message.json.encode() + b"\n" for message in page.messages]))
            file.flush()
            count += len(page.messages)
            progress.show(count)
            if len(page.messages) < _PAGE:
                return
            after = page.position
    finally:
        progress.done()
