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
from roomcast.cli.load.run import LoadPlan, LoadRun
from roomcast.cli.load.table import CpuShare, table
from roomcast.terminal import Screen

_DRAW = 0.5
"""Seconds between two drawings of the table."""


@click.command("bench", cls=Command)
@click.argument("url", default=DEFAULT_URL, envvar=URL_VARIABLE, callback=checked_url)
@given.option
@click.option(
    "--followers",
    default=LoadPlan.followers,
    show_default=True,
    type=click.IntRange(1, 60_000),
    help="Number of followers.",
)
@click.option(
    "--rate",
    default=LoadPlan.rate,
    show_default=True,
    type=FiniteRange(0.1, 100_000),
    help="Messages per second, over all rooms together.",
)
@click.option(
    "--size",
    default=LoadPlan.size,
    show_default=True,
    type=click.IntRange(10, 60_000),
    help="Characters per message.",
)
@click.option(
    "--seconds",
    default=LoadPlan.seconds,
    show_default=True,
    type=FiniteRange(0.1, 3600),
    help="Duration of publishing.",
)
@click.option(
    "--rooms",
    default=LoadPlan.rooms,
    show_default=True,
    type=click.IntRange(1, 1_000),
    help="Number of rooms; it makes new ones.",
)
def command(
    url: str, headers: dict[str, str], followers: int, rate: float, size: int, seconds: float, rooms: int
) -> None:
    """Measure the server at URL.

    Its messages count against the log's retention. Followers and publishers run in this process: on the server's
    own machine they use a part of its cores.

    Exits with 1 if a follower did not get each acknowledged message once and in order, or if the server refused
    messages."""
    if rooms > followers:
        raise click.UsageError("each room needs a follower: give fewer --rooms or more --followers")
    run = LoadRun(Address.parse(url, headers), LoadPlan(followers, rate, size, seconds, rooms))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        busy = runner.run(_shown(run, Screen(sys.stderr)))
    figures = run.figures
    lost = figures.missing()
    click.echo("\n".join([*table(run, busy), "", _verdict(run, lost)]))
    sys.exit(1 if lost or figures.disorder or figures.refused or not figures.published else 0)


async def _shown(run: LoadRun, screen: Screen) -> float:
    """Runs it and draws the table meanwhile. Returns this process's share of a core."""
    busy = CpuShare()
    running = asyncio.ensure_future(run.run())
    while not (await asyncio.wait([running], timeout=_DRAW))[0]:
        screen.show(table(run, busy.value()))
    share = busy.value()
    screen.clear()
    await running
    return share


def _verdict(run: LoadRun, lost: int) -> str:
    figures = run.figures
    rate = figures.deliveries / figures.seconds() if figures.deliveries else 0.0
    if lost:
        loss = f"{lost:,} deliveries were lost"
    elif figures.disorder:  # a duplicate makes up for a loss in the counts
        loss = f"{figures.disorder:,} were duplicated or out of order, and others may be lost"
    else:
        loss = "nothing was lost"
    return f"{rate:,.0f} deliveries a second; {loss}."
