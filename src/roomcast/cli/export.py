"""`roomcast export`."""

from __future__ import annotations

import difflib
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

from roomcast.cli.batches import PATIENCE
from roomcast.cli.command import Command, Server, to_server
from roomcast.cli.completing import room_names
from roomcast.cli.progress import Progress
from roomcast.cli.reading import messages
from roomcast.client import Client, Message
from roomcast.client.messages import message as parsed
from roomcast.model.errors import RoomcastError
from roomcast.model.rooms import Selection

_BEGINNING = b'{"id":"'
"""Of each line of an export."""
_TAIL = 1024 * 1024
"""Bytes at a file's end in which its last whole line is looked for: far more than a message may have."""


class NoExport(RoomcastError):
    """The file is not one that can be gone on with."""

    kind = "no-export"


@click.command("export", cls=Command)
@click.argument("rooms", nargs=-1, metavar="[ROOM]...", shell_complete=room_names)
@to_server
@click.option(
    "--prefix",
    "prefixes",
    multiple=True,
    metavar="TEXT",
    help="Every room there is whose name begins so; may be repeated.",
)
@click.option("--all", "every", is_flag=True, help="Every room there is.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Instead of stdout."
)
def command(
    server: Server, rooms: tuple[str, ...], prefixes: tuple[str, ...], every: bool, output: Path | None
) -> None:
    """Write what is retained of rooms, as lines of JSON.

    The oldest comes first. A FILE that exists is gone on with behind its last whole line: after an interruption,
    or every night. What is no longer retained by then is told as a gap, on stderr. A room that does not exist, or
    a prefix that no room has, is an error, with status 1; the others are written all the same."""
    if every == bool(rooms or prefixes):
        raise click.UsageError("name the rooms, or their --prefix, or give --all for every one")
    selection = Selection.of(rooms, prefixes)
    if output is None:
        with server.client() as client:
            _export(client, selection, every, None, sys.stdout.buffer)
        return
    with _opened(output) as file, server.client(PATIENCE) as client:
        last = _last(file, output)
        if last is not None and not (every or selection.covers(last.room)):
            raise NoExport(f"{output} ends with a message of {last.room}: name that room, too, or another file")
        _export(client, selection, every, last, file)


def _export(client: Client, selection: Selection, every: bool, last: Message | None, file: BinaryIO) -> None:
    """Writes the rooms, or every one that this client may list, from behind `last`. Raises `NoExport` at the end
    where one that is named does not exist, or none with a prefix."""
    there, end = _rooms_and_end(client, last)
    # All that the room of `last` had may be trimmed since.
    known = [*dict.fromkeys([*there, *([last.room] if last else [])])]
    wanted = [room for room in known if every or selection.covers(room)]
    begun = [prefix for prefix in selection.prefixes if any(room.startswith(prefix) for room in wanted)]
    write(file, messages(client, wanted, last.id if last else None, end, begun))
    missing = [_no_room(room, there) for room in sorted(selection.rooms.difference(known))]
    missing += [
        f"there is no room whose name begins with {prefix}"
        for prefix in selection.prefixes
        if prefix not in ("", *begun)
    ]
    if missing:
        raise NoExport(" ".join(missing))


def _rooms_and_end(client: Client, last: Message | None) -> tuple[list[str], str]:
    """The rooms there are, and a position up to which there are no others."""
    named = [last.room] if last else [room.room for room in client.rooms()]
    if not named:
        return [], ""
    end = client.history(named[0], replay="none").position
    return [room.room for room in client.rooms()], end


def _no_room(room: str, there: list[str]) -> str:
    near = difflib.get_close_matches(room, there, 1)
    hint = "--all exports every room" if room == "*" else f"did you mean {near[0]}?" if near else ""
    return f"there is no room {room}" + (f": {hint}" if hint else "")


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


def write(file: BinaryIO, found: Iterator[Message]) -> None:
    """Each as a line, with a word about how far it came."""
    progress = Progress("messages exported")
    try:
        for count, message in enumerate(found, 1):
            file.write(message.json.encode() + b"\n")
            progress.show(count)
        file.flush()
    finally:
        progress.done()
