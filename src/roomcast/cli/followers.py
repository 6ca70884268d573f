"""`roomcast followers`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import click

from roomcast.cli import formatting
from roomcast.cli.command import Command, Server, with_server
from roomcast.cli.duration import Duration
from roomcast.client import FollowerInfo
from roomcast.terminal import Screen, aligned

_HEADINGS = ("who", "from", "since", "behind", "waiting", "rooms", "with")
_AGENT = 30
"""Characters of a user agent; its beginning says most."""
_ROOMS = 2
"""Maximum number of rooms that are named for each follower."""


@click.command("followers", cls=Command)
@with_server
@click.option(
    "--behind",
    default=0,
    type=click.IntRange(0),
    help="Only followers that are at least this many messages behind.",
)
@click.option(
    "--every", default=2.0, type=Duration(), metavar="TIME", help="Time between two updates.  [default: 2s]"
)
@click.option("--once", is_flag=True, help="Print the table once and end.")
def command(server: Server, behind: int, every: float, once: bool) -> None:
    """List the followers, and how far each is behind.

    In a terminal it is a table, the farthest behind first, which is updated until Ctrl-C; elsewhere it is a line
    of JSON for each follower. Needs a credential with the admin right in ROOMCAST_TOKEN."""
    with server.client() as client:
        if not formatting.in_terminal():
            answer = client.followers(behind=behind)
            for follower in answer.followers:
                click.echo(formatting.as_json(follower))
            if answer.missing:
                formatting.say(_absent(answer.missing))
            return
        screen = Screen(sys.stdout)
        while True:
            answer = client.followers(behind=behind)
            found = sorted(answer.followers, key=lambda one: -one.behind)
            rows = [_summary(found, answer.missing), *_table(found)]
            if once:
                click.echo("\n".join(rows))
                return
            screen.show(rows)
            time.sleep(every)


def _summary(found: Sequence[FollowerInfo], missing: Sequence[int]) -> str:
    late = sum(one.behind > 0 for one in found)
    summary = f"{len(found):,} follower{'' if len(found) == 1 else 's'}, {late:,} behind"
    return f"{summary}; {_absent(missing)}" if missing else summary


def _absent(workers: Sequence[int]) -> str:
    some = "worker" if len(workers) == 1 else "workers"
    return f"no answer from {some} {', '.join(map(str, workers))}, whose followers are left out"


def _table(found: Sequence[FollowerInfo]) -> list[str]:
    return aligned([_HEADINGS, *map(_row, found)])


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
    """The time since then, in its two largest units."""
    seconds = max(0, int((datetime.now(UTC) - since).total_seconds()))
    units = [
        (seconds // 86_400, "d"),
        (seconds // 3_600 % 24, "h"),
        (seconds // 60 % 60, "m"),
        (seconds % 60, "s"),
    ]
    first = next((number for number, (count, _) in enumerate(units) if count), 3)
    return "".join(f"{count}{unit}" for count, unit in units[first : first + 2])
