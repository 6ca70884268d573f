"""`roomcast doctor`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import click

from roomcast.cli import URL_VARIABLE, headers
from roomcast.cli.command import Command, checked_url
from roomcast.cli.duration import Duration
from roomcast.cli.formatting import printable, say
from roomcast.doctor.examination import IDLE_SECONDS, NotReached, examine
from roomcast.doctor.finding import Finding, Level
from roomcast.doctor.site import Site

_COLORS = {Level.OK: "green", Level.NOTE: "cyan", Level.FAULT: "red"}


@click.command("doctor", cls=Command)
@click.argument("url", envvar=URL_VARIABLE, callback=checked_url)
@headers.option
@click.option("--room", help="Room to follow.  [default: one that may be read]")
@click.option(
    "--origin", default="", metavar="ORIGIN", help="Origin of your page, such as https://example.org; checks CORS."
)
@click.option(
    "--idle",
    default=IDLE_SECONDS,
    type=Duration(),
    metavar="TIME",
    help="Watch a silent stream for this long, such as 5m.  [default: 35s]",
)
def command(url: str, headers: dict[str, str], room: str | None, origin: str, idle: float) -> None:
    """Check the proxies between here and the server at URL.

    Makes real requests, and prints a line for each check. If something is wrong, the next line is the proxy's
    configuration that fixes it. It follows a quiet room and publishes nothing. It takes about 40 s, and more if
    --idle is longer or answers do not come. Run it where your clients are.

    Exits with 0 if all is well, with 1 if there is something to fix, and with 2 if no roomcast server answers."""
    site = Site(url.rstrip("/"), headers, room or "")
    found: list[Finding] = []
    try:
        asyncio.run(examine(site, _telling(found), origin=origin, idle_seconds=idle))
    except NotReached as error:
        say(f"no roomcast server answers at {url}: {error}")
        sys.exit(2)
    sys.exit(1 if any(finding.level is Level.FAULT for finding in found) else 0)


def _telling(found: list[Finding]) -> Callable[[Finding], None]:
    def tell(finding: Finding) -> None:
        found.append(finding)
        mark = click.style(f"{finding.level.value:<5}", fg=_COLORS[finding.level])
        click.echo(f"{mark} {finding.name:<14} {printable(finding.text)}")
        if finding.fix:
            click.echo(f"      {'':<14} {click.style(printable(finding.fix), bold=True)}")

    return tell
