"""`roomcast followers`."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import click
import msgspec

from roomcast.cli import formatting
from roomcast.cli.command import Command, Server, to_server
from roomcast.cli.duration import Duration
from roomcast.client import FollowerInfo

_HEADINGS = ("who", "from", "since", "behind", "waiting", "rooms", "with")
_CLEAR, _HOME, _TO_THE_END, _TO_THE_LINES_END = "\x1b[2J", "\x1b[H", "\x1b[J", "\x1b[K"
_AGENT = 30
"""Characters of a user agent: its beginning says most."""
_ROOMS = 2
"""Rooms that are named."""


@click.command("followers", cls=Command)
@to_server
@click.option("--behind", default=0, type=click.IntRange(0), help="Only followers so many messages behind.")
@click.option(
    "--every", default=2.0, type=Duration(), metavar="TIME", help="Time between two updates.  [default: 2s]"
)
@click.option("--once", is_flag=True, help="Look once.")
def command(server: Server, behind: int, every: float, once: bool) -> None:
    """Show who follows, and who is behind.

    In a terminal as a table that is drawn again until Ctrl-C, the farthest behind first; elsewhere once, each as a
    line of JSON. Needs a credential with the right admin, in ROOMCAST_TOKEN."""
    with server.client() as client:
        if not formatting.in_terminal():
            told = client.followers(behind=behind)
            for follower in told.followers:
                click.echo(_json(follower))
            if told.missing:
                click.echo(f"roomcast: {_absent(told.missing)}", err=True)
            return
        if not once:
            click.echo(_CLEAR, nl=False)
        while True:
            told = client.followers(behind=behind)
            found = sorted(told.followers, key=lambda one: -one.behind)
            rows = [_summary(found, told.missing), *_table(found)]
            if once:
                click.echo("\n".join(rows))
                return
            click.echo(_screen(rows), nl=False)
            time.sleep(every)


def _summary(found: Sequence[FollowerInfo], missing: Sequence[int]) -> str:
    late = sum(one.behind > 0 for one in found)
    said = f"{len(found):,} followers, {late:,} behind"
    return f"{said}; {_absent(missing)}" if missing else said


def _absent(workers: Sequence[int]) -> str:
    some = "worker" if len(workers) == 1 else "workers"
    return f"no answer from {some} {', '.join(map(str, workers))}, whose followers are left out"


def _screen(rows: Sequence[str]) -> str:
    """The rows that fit into the terminal, drawn over the previous ones."""
    columns, lines = shutil.get_terminal_size()
    shown = [row[:columns] for row in rows[: max(3, lines - 1)]]
    return _HOME + "".join(f"{row}{_TO_THE_LINES_END}\n" for row in shown) + _TO_THE_END


def _table(found: Sequence[FollowerInfo]) -> list[str]:
    rows = [_HEADINGS, *map(_row, found)]
    widths = [max(map(formatting.width, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(formatting.padded, row, widths)).rstrip() for row in rows]


def _row(one: FollowerInfo) -> tuple[str, ...]:
    rooms = [*one.rooms, *(f"{prefix}*" for prefix in one.prefixes)]
    more = f" and {len(rooms) - _ROOMS} more" if len(rooms) > _ROOMS else ""
    return (
        formatting.printable(one.principal) or "-",
        formatting.printable(one.address),
        _for(one.since),
        f"{one.behind:,}",
        f"{one.waiting:,}",
        formatting.printable(", ".join(rooms[:_ROOMS])) + more,
        formatting.printable(one.user_agent)[:_AGENT],
    )


def _for(since: datetime) -> str:
    """How long ago, in its two largest units."""
    seconds = max(0, int((datetime.now(UTC) - since).total_seconds()))
    units = [
        (seconds // 86_400, "d"),
        (seconds // 3_600 % 24, "h"),
        (seconds // 60 % 60, "m"),
        (seconds % 60, "s"),
    ]
    first = next((number for number, (count, _) in enumerate(units) if count), 3)
    return "".join(f"{count}{unit}" for count, unit in units[first : first + 2])


def _json(one: FollowerInfo) -> bytes:
    """As the server writes it."""
    told = msgspec.structs.asdict(one)
    told["since"] = one.since.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return msgspec.json.encode(told)
