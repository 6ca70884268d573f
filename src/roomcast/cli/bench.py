"""`roomcast bench`."""

from __future__ import annotations

import asyncio
import sys

import click
import uvloop

from roomcast.cli import URL_VARIABLE
from roomcast.cli import headers as given
from roomcast.cli.command import DEFAULT_URL, Command, checked_url
from roomcast.cli.finite import FiniteRange
from roomcast.cli.load.address import Address
from roomcast.cli.load.run import Plan, Run
from roomcast.cli.load.table import Busy, Screen, table

_DRAW = 0.5
"""Seconds between two pictures of the table."""


@click.command("bench", cls=Command)
@click.argument("url", default=DEFAULT_URL, envvar=URL_VARIABLE, callback=checked_url)
@given.option
@click.option("--followers", default=Plan.followers, show_default=True, type=click.IntRange(1, 60_000))
@click.option(
    "--rate",
    default=Plan.rate,
    show_default=True,
    type=FiniteRange(0.1, 100_000),
    help="Messages a second, over all rooms.",
)
@click.option(
    "--size",
    default=Plan.size,
    show_default=True,
    type=click.IntRange(10, 60_000),
    help="Characters of a message.",
)
@click.option("--seconds", default=Plan.seconds, show_default=True, type=FiniteRange(0.1, 3600))
@click.option(
    "--rooms", default=Plan.rooms, show_default=True, type=click.IntRange(1, 1_000), help="Its own, new ones."
)
def command(
    url: str, headers: dict[str, str], followers: int, rate: float, size: int, seconds: float, rooms: int
) -> None:
    """Measure the server at URL.

    What is published takes its place in the log's retention. Exits with 1 where a message that the server
    acknowledged did not come to a follower, or not once and in order, or was refused. Followers and publishers
    share this process: on the server's own machine they take their part of its cores."""
    if rooms > followers:
        raise click.UsageError("each room needs a follower: fewer --rooms or more --followers")
    run = Run(Address.of(url, headers), Plan(followers, rate, size, seconds, rooms))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        busy = runner.run(_shown(run, Screen()))
    figures = run.figures
    lost = figures.missing()
    click.echo("\n".join([*table(run, busy), "", _verdict(run, lost)]))
    sys.exit(1 if lost or figures.disorder or figures.refused or not figures.published else 0)


async def _shown(run: Run, screen: Screen) -> float:
    """Runs it, and draws the table meanwhile. Returns how busy this process was."""
    busy = Busy()
    running = asyncio.ensure_future(run.run())
    while not (await asyncio.wait([running], timeout=_DRAW))[0]:
        screen.show(table(run, busy.share()))
    share = busy.share()
    screen.show([])
    await running
    return share


def _verdict(run: Run, lost: int) -> str:
    figures = run.figures
    rate = figures.deliveries / figures.seconds() if figures.deliveries else 0.0
    whole = "nothing was lost" if not lost else f"{lost:,} deliveries were lost"
    return f"{rate:,.0f} deliveries a second; {whole}."
