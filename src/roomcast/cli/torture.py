"""`roomcast torture`."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any, NoReturn

import click

from roomcast.cli import headers as given
from roomcast.cli.finite import FiniteRange
from roomcast.cli.formatting import say
from roomcast.torture import rude as rudely
from roomcast.torture import show
from roomcast.torture.attack import Attack, Plan
from roomcast.torture.target import Target, Unusable


@click.command("torture")
@click.argument("url")
@click.option(
    "--minutes",
    default=1.0,
    show_default=True,
    type=FiniteRange(min=0, min_open=True),
    help="Duration of the attack.",
)
@click.option(
    "--followers", default=100, show_default=True, type=click.IntRange(1, 15_000), help="Number of followers."
)
@click.option(
    "--publishers", default=4, show_default=True, type=click.IntRange(1, 1_000), help="Number of publishers."
)
@click.option(
    "--rooms",
    default=8,
    show_default=True,
    type=click.IntRange(1, 1_000),
    help="Number of rooms; it makes new ones.",
)
@click.option(
    "--principals",
    default=0,
    type=click.IntRange(0, 15_000),
    help="Let this many principals follow with tickets for their own rooms, while intruders try to get in. Needs "
    "a key in ROOMCAST_TOKEN that may read and publish every room and read the metrics.",
)
@given.option
@click.option("--seed", type=int, help="Make the same random choices as an earlier attack.")
@click.option("--yes", is_flag=True, help="Attack even if this may trim messages of others.")
@click.option(
    "--rude", is_flag=True, help="Exhaust the server as a stranger could, and see whether it still serves."
)
def command(
    url: str,
    minutes: float,
    followers: int,
    publishers: int,
    rooms: int,
    principals: int,
    headers: dict[str, str],
    seed: int | None,
    yes: bool,
    rude: bool,
) -> None:
    """Attack the server at URL to see whether it keeps its promises.

    From outside it publishes, follows, cuts its own connections and resumes, in rooms of its own, which it removes
    afterwards if the server allows it. Its messages count against the log's retention: if they would trim messages
    of others, it does nothing without --yes. Restart or kill the server meanwhile: it must lose nothing. Ctrl-C
    ends the attack early, a second Ctrl-C also ends the wait for the verdict.

    With --rude it exhausts the server's connections, memory and time instead, with means that cost a stranger
    little: silent connections, partial heads and bodies, unread answers, abandoned pages, nested bodies, endless
    heads, floods of rooms. A quiet publisher and a follower measure how the server still serves them. Only on this
    machine, or with --yes.

    Exits with 1 if an acknowledged message was lost, duplicated or reordered, if a gap was reported wrongly, if
    somebody got in without a right, or with --rude if a publish took more than a second at the 99th percentile.
    Exits with 2 if there is no such server, or not enough space for the attack in its log."""
    if rude:
        _attack_rudely(url, 60 * minutes, headers, allowed=yes)
    chosen: dict[str, Any] = {} if seed is None else {"seed": seed}
    plan = Plan(60 * minutes, followers, publishers, rooms, overrun=yes, principals=principals, **chosen)
    table = show.Table()
    try:
        attack = Attack(Target.parse(url, tuple(headers.items())), plan)
        asyncio.run(show.attack(attack, table))
    except Unusable as error:
        say(str(error))
        sys.exit(2)
    click.echo("\n".join([*show.table(attack, time.monotonic() - table.began), "", *show.verdict(attack)]))
    sys.exit(1 if attack.record.counts["violations"] else 130 if attack.cut_short else 0)


def _attack_rudely(url: str, seconds: float, headers: dict[str, str], *, allowed: bool) -> NoReturn:
    interrupted = False
    try:
        attack = rudely.RudeAttack(Target.parse(url, tuple(headers.items())), seconds, allowed=allowed)
        asyncio.run(attack.run())
    except Unusable as error:
        say(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        interrupted = True
    click.echo("\n".join([*rudely.table(attack.results), "", *rudely.verdict(attack)]))
    sys.exit(1 if attack.faulty else 130 if interrupted else 0)
