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
from roomcast.cli.command import Command, Server, with_server
from roomcast.cli.completing import room_names
from roomcast.cli.progress import Progress
from roomcast.cli.reading import messages
from roomcast.client import Client, Message
from roomcast.client.body import MAX_ANSWER
from roomcast.client.messages import message as parsed
from roomcast.model.errors import RoomcastError
from roomcast.model.rooms import Selection

_LINE_START = b'{"id":"'
"""Each line of an export begins with this."""
_TAIL = 1024 * 1024
"""The last whole line is searched for in this many bytes at the file's end: far more than a message has with the
server's default. If they do not hold it, the search goes back twice as far, and so on, until it has passed
`MAX_ANSWER`: no longer message reaches an export."""
_LIST_THEM = "list the rooms with roomcast rooms"


class IncompleteExport(RoomcastError):
    """The export cannot be continued or is not complete."""

    kind = "no-export"


@click.command("export", cls=Command)
@click.argument("rooms", nargs=-1, metavar="[ROOM]...", shell_complete=room_names)
@with_server
@click.option(
    "--prefix",
    "prefixes",
    multiple=True,
    metavar="TEXT",
    help="Export every room whose name begins with TEXT; repeatable.",
)
@click.option("--all", "every", is_flag=True, help="Export every room.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE instead of stdout.",
)
def command(
    server: Server, rooms: tuple[str, ...], prefixes: tuple[str, ...], every: bool, output: Path | None
) -> None:
    """Write the retained messages of rooms as lines of JSON.

    The oldest come first. If FILE exists, the export continues after its last whole line: run it again after an
    interruption, or every night. Messages that are no longer retained are reported as a gap on stderr. A room that
    does not exist, or a prefix that no room has, is an error with status 1; the other rooms are still written."""
    if every == bool(rooms or prefixes):
        raise click.UsageError("name the rooms, or give a --prefix of their names, or --all")
    selection = Selection.of(rooms, prefixes)
    if output is None:
        with server.client() as client:
            _export(client, selection, every, None, sys.stdout.buffer)
        return
    with _opened(output) as file, server.client(PATIENCE) as client:
        last = _last(file, output)
        if last is not None and not (every or selection.covers(last.room)):
            raise IncompleteExport(
                f"{output} ends with a message of {last.room}: name that room as well, or write to another file"
            )
        _export(client, selection, every, last, file)


def _export(client: Client, selection: Selection, every: bool, last: Message | None, file: BinaryIO) -> None:
    """Writes the rooms, or every room that this client may list, after the message `last`. Raises
    `IncompleteExport` at the end if a named room does not exist, or a prefix has no room."""
    listed, end = _rooms_and_end(client, last)
    # The room of `last` may have been trimmed to nothing since.
    known = [*dict.fromkeys([*listed, *([last.room] if last else [])])]
    wanted = [room for room in known if every or selection.covers(room)]
    matched = [prefix for prefix in selection.prefixes if any(room.startswith(prefix) for room in wanted)]
    write(file, messages(client, wanted, last.id if last else None, end, matched))
    missing = [_no_room(room, listed) for room in sorted(selection.rooms.difference(known))]
    missing += [
        f"there is no room whose name begins with {prefix}: {_LIST_THEM}"
        for prefix in selection.prefixes
        if prefix not in ("", *matched)
    ]
    if missing:
        raise IncompleteExport(" ".join(missing))


def _rooms_and_end(client: Client, last: Message | None) -> tuple[list[str], str]:
    """The names of all rooms, and the position at which the export ends. The position is read before the rooms: no
    room with messages up to there is missing."""
    named = [last.room] if last else [room.room for room in client.rooms()]
    if not named:
        return [], ""
    end = client.history(named[0], replay="none").position
    return [room.room for room in client.rooms()], end


def _no_room(room: str, listed: list[str]) -> str:
    near = difflib.get_close_matches(room, listed, 1)
    hint = "--all exports every room" if room == "*" else f"did you mean {near[0]}?" if near else _LIST_THEM
    return f"there is no room {room}: {hint}"


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Opens the file and locks it for this process."""
    with path.open("a+b") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # some devices can be read for ever
            raise IncompleteExport(f"{path} is not a regular file: leave out --output and redirect stdout there")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise IncompleteExport(
                f"another export is writing {path}: wait for it, or write to another file"
            ) from None
        yield file


def _last(file: BinaryIO, path: Path) -> Message | None:
    """The message of the last whole line. Cuts off a line that is not whole. Raises `IncompleteExport`, before it
    changes anything, for a file that is not an export."""
    size = file.seek(0, os.SEEK_END)
    (*whole, rest), start = _last_lines(file, size)
    try:
        last = parsed(whole[-1].decode()) if whole else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        last = None
    begun = rest.startswith(_LINE_START[: len(rest)])
    if not begun or (last is None and (whole or start)):
        raise IncompleteExport(f"{path} is not an export that can be continued: write to another file")
    file.truncate(size - len(rest))
    return last


def _last_lines(file: BinaryIO, size: int) -> tuple[list[bytes], int]:
    """The lines at the end of `file`, which has `size` bytes, and the place of the first one, which may lack its
    beginning. The last one, after the last line feed, may be empty."""
    span = _TAIL
    while True:
        file.seek(start := max(0, size - span))
        lines = file.read().split(b"\n")
        if len(lines) > 2 or not start or span > MAX_ANSWER:
            return lines, start
        span *= 2


def write(file: BinaryIO, found: Iterator[Message]) -> None:
    """Writes each message of `found` to `file`, a line each, and shows the progress. Flushes the file at the end,
    but does not sync it."""
    progress = Progress("messages exported")
    try:
        for count, message in enumerate(found, 1):
            file.write(message.json.encode() + b"\n")
            progress.show(count)
        file.flush()
    finally:
        progress.done()
