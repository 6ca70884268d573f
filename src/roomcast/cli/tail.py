"""`roomcast tail`."""

from __future__ import annotations

import os
import select
import stat
import sys
import threading
from collections.abc import Callable

import click
import httpx

from roomcast.cli import formatting
from roomcast.cli.command import CLOSED_PIPE, Command, Server, advice, with_server
from roomcast.cli.completing import room_names
from roomcast.client import Follower, Gap, Message, Pause, Unreachable
from roomcast.client.errors import bad_tls

NEWEST = 10
"""Messages that are printed first by default: as many as the lines of `tail -f`."""
AFTER_GAP = 3
"""The exit status after a gap, with `--exit-on-gap`."""


@click.command("tail", cls=Command)
@click.argument("rooms", nargs=-1, metavar="[ROOM]...", shell_complete=room_names)
@with_server
@click.option(
    "--prefix",
    "prefixes",
    multiple=True,
    metavar="TEXT",
    help="Follow every room whose name begins with TEXT, also rooms that come later; repeatable. '' is all rooms.",
)
@click.option(
    "--replay",
    metavar="all|none|N",
    help=f"Print these earlier messages first; N is the newest N over all rooms together.  [default: {NEWEST}]",
)
@click.option(
    "--since", metavar="WHEN", help="Begin at a time (2026-11-22T06:27:00Z), or this long ago (10m, 1h30m)."
)
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after N messages.")
@click.option("--exit-on-gap", is_flag=True, help=f"End with status {AFTER_GAP} when messages may be lost.")
def command(
    server: Server,
    rooms: tuple[str, ...],
    prefixes: tuple[str, ...],
    replay: str | None,
    since: str | None,
    count: int | None,
    exit_on_gap: bool,
) -> None:
    """Follow rooms: print the newest messages, then each new one.

    A message is a line of text in a terminal, with its local time, and a line of JSON elsewhere. When the server
    restarts or the network fails, the command waits, connects again and misses nothing. If messages may be lost,
    it reports a gap: in its place in a terminal, elsewhere on stderr."""
    if not rooms and not prefixes:
        raise click.UsageError("name the rooms to follow, or give a prefix of their names: --prefix team/")
    if since is not None and replay is not None:
        raise click.UsageError("--since and --replay both say where to begin: give only one")
    if since is None and replay is None:
        replay = str(NEWEST)
    connection = _Connection()
    with (
        server.client() as client,
        client.follow(
            *rooms,
            prefixes=prefixes,
            since=since,
            replay=replay,
            on_open=connection.opened,
            on_pause=connection.paused,
        ) as follower,
    ):
        gone = _when_reader_ends(follower.close)
        _write(follower, count, exit_on_gap)
    if gone.is_set():
        sys.exit(CLOSED_PIPE)


def _write(follower: Follower, count: int | None, exit_on_gap: bool) -> None:
    write = _in_colours if formatting.in_terminal() else _as_json
    for found in follower:
        if isinstance(found, Message):
            write(found)
            if count is not None and (count := count - 1) == 0:
                return
        elif isinstance(found, Gap):
            _report_gap(found)
            if exit_on_gap:
                sys.exit(AFTER_GAP)


def _in_colours(message: Message) -> None:
    click.echo(formatting.line(message))


def _as_json(message: Message) -> None:
    sys.stdout.buffer.write(message.json.encode() + b"\n")
    sys.stdout.buffer.flush()


def _report_gap(gap: Gap) -> None:
    if formatting.in_terminal():
        click.secho(f"--- {formatting.printable(formatting.gap(gap))} ---", fg="red")
    else:
        formatting.say(formatting.gap(gap))


class _Connection:
    """Reports the state of the connection: each change in a terminal; elsewhere only why the first attempt
    failed."""

    def __init__(self) -> None:
        self._was_open = False
        self._pausing = False

    def opened(self, response: object) -> None:
        if self._pausing and formatting.in_terminal(err=True):
            formatting.say("connected again" if self._was_open else "connected")
        self._was_open, self._pausing = True, False

    def paused(self, pause: Pause) -> None:
        if not self._was_open and (why := bad_tls(pause.error)):
            raise Unreachable(f"the server cannot be reached: {why}")
        if formatting.in_terminal(err=True) or not (self._was_open or self._pausing):
            where = "" if self._was_open else advice(pause.error)
            formatting.say(f"{_why(pause)}{where}; next attempt in {pause.seconds:.1f} s")
        self._pausing = True


def _why(pause: Pause) -> str:
    if pause.error is None:
        return "the server ended the stream"
    text = str(pause.error) or type(pause.error).__name__
    return f"the server cannot be reached: {text}" if isinstance(pause.error, httpx.ConnectError) else text


def _when_reader_ends(then: Callable[[], None]) -> threading.Event:
    """Calls `then` when nobody reads the output pipe any more. Without it, `tail | head -1` would go on until the
    next message."""
    gone = threading.Event()

    def watch() -> None:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # errors only
        poll.poll()
        gone.set()
        then()

    if stat.S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
        threading.Thread(target=watch, daemon=True).start()
    return gone
