"""The command line. Each option is declared in `settings`; here it becomes a flag and a variable."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import sys
import time
from typing import Any

import click

from roomcast import __version__
from roomcast.cli import COMMANDS, URL_VARIABLE
from roomcast.cli import headers as given
from roomcast.cli.finite import FiniteRange
from roomcast.model.errors import CannotStart
from roomcast.model.settings import Settings

_NOT_OURS = ("ROOMCAST_TEST_", "ROOMCAST_SERVICE_", "ROOMCAST_PORT_")


class GroupedCommand(click.Command):
    """A command whose help shows its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            if record := param.get_help_record(ctx):
                groups.setdefault(getattr(param, "group", "Help"), []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)
        formatter.write_paragraph()
        formatter.write_text("Each option is also an environment variable: --max-bytes is ROOMCAST_MAX_BYTES.")


class GroupedOption(click.Option):
    """An option that knows its heading, and its variable."""

    def __init__(self, *args: Any, group: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group

    def value_from_envvar(self, ctx: click.Context) -> Any:
        # What Kubernetes puts into every container beside a service named roomcast is no port number.
        if self.envvar == "ROOMCAST_PORT" and os.environ.get("ROOMCAST_PORT", "").startswith("tcp://"):
            return None
        return super().value_from_envvar(ctx)

    def get_error_hint(self, ctx: click.Context | None) -> str:
        # Whoever set a variable, maybe in another file, looks for that name and not for the option's.
        given_by = ctx and ctx.get_parameter_source(self.name or "")
        if given_by is click.core.ParameterSource.ENVIRONMENT:
            return f"'{self.envvar}'"
        return super().get_error_hint(ctx)


def _options(command: click.Command) -> click.Command:
    command.params[:0] = [_option(field) for field in dataclasses.fields(Settings)]
    return command


def _option(field: dataclasses.Field[Any]) -> GroupedOption:
    meta, flag = field.metadata, f"--{field.name.replace('_', '-')}"
    return GroupedOption(
        [f"{flag}/--no-{flag[2:]}" if meta.get("negatable") else flag, field.name],
        group=meta["group"],
        help=meta["help"],
        default=field.default,
        show_default=True,
        envvar=variable(field.name),
        is_flag=isinstance(field.default, bool),
        multiple=isinstance(field.default, tuple),
        metavar=meta.get("metavar"),
        type=_type(field.default, meta),
    )


def _type(default: Any, meta: Any) -> Any:
    if "choices" in meta:
        return click.Choice(meta["choices"])
    if "range" in meta:
        kind = click.IntRange if isinstance(default, int) else FiniteRange
        return kind(*meta["range"])
    return None if isinstance(default, (bool, tuple)) else type(default)


def variable(name: str) -> str:
    """The environment variable of an option."""
    return f"ROOMCAST_{name.upper()}"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="roomcast", message="%(prog)s %(version)s")
def main() -> None:
    """A self-hosted server for server-sent events: post to a room, and every follower of the room has it a
    millisecond later; whoever was away resumes exactly."""
    for name in unknown_variables():
        click.echo(f"roomcast: the environment variable {name} is not known and does nothing", err=True)


@_options
@main.command(cls=GroupedCommand)
@click.pass_context
def serve(ctx: click.Context, /, **options: Any) -> None:
    """Run the server."""
    _leave_at_a_signal()
    from roomcast.serve import run  # late: --help and --version need none of it

    chosen = ctx.get_parameter_source("page_port") is not click.core.ParameterSource.DEFAULT
    settings = Settings(**{**options, "allow_origin": tuple(options["allow_origin"])})
    try:
        run.run(settings, page_port_chosen=chosen)
    except CannotStart as error:
        click.echo(f"roomcast: {error.detail}", err=True)
        sys.exit(1)


def _leave_at_a_signal() -> None:
    """Until there is something to drain. Not by Python's `KeyboardInterrupt`: raised in the middle of an import it
    may be lost there, with the import lock taken, and the thread that opens the log waits for that for ever."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))


@main.command(short_help="Attack the server at URL: does a promise break?")
@click.argument("url")
@click.option("--minutes", default=1.0, show_default=True, type=FiniteRange(min=0, min_open=True))
@click.option("--followers", default=100, show_default=True, type=click.IntRange(1, 15_000))
@click.option("--publishers", default=4, show_default=True, type=click.IntRange(1, 1_000))
@click.option("--rooms", default=8, show_default=True, type=click.IntRange(1, 1_000), help="Its own, new ones.")
@given.option
@click.option("--seed", type=int, help="Repeat the choices of an earlier attack; they are taken at random.")
@click.option("--yes", is_flag=True, help="Go on where messages of others may be trimmed by it.")
def torture(
    url: str,
    minutes: float,
    followers: int,
    publishers: int,
    rooms: int,
    headers: dict[str, str],
    seed: int | None,
    yes: bool,
) -> None:
    """Attack the server at URL from outside, and see whether a promise breaks.

    Publishes, follows, cuts its own connections and resumes, in rooms of its own, which it removes afterwards
    where the server lets it. What it publishes takes its place in the log's retention: where that would trim
    messages of others, it does nothing without --yes. Restart the server meanwhile, or kill it: it must lose
    nothing. Ctrl-C ends the attack early, and a second one the wait for the verdict.

    Exits with 1 where something acknowledged was lost, doubled or reordered, or a gap was told wrongly; with 2
    where there is no such server, or no room for the attack in its log."""
    from roomcast.torture import show
    from roomcast.torture.attack import Attack, Plan
    from roomcast.torture.target import Target, Unusable

    chosen = {} if seed is None else {"seed": seed}
    plan = Plan(60 * minutes, followers, publishers, rooms, overrun=yes, **chosen)
    table = show.Table()
    try:
        attack = Attack(Target.parse(url, tuple(headers.items())), plan)
        asyncio.run(show.attack(attack, table))
    except Unusable as error:
        click.echo(f"roomcast: {error}", err=True)
        sys.exit(2)
    click.echo("\n".join([*show.table(attack, time.monotonic() - table.began), "", *show.verdict(attack)]))
    sys.exit(1 if attack.record.counts["violations"] else 130 if attack.cut_short else 0)


def unknown_variables() -> list[str]:
    """Variables that look like ours and are not."""
    known = {URL_VARIABLE, given.VARIABLE, *(variable(field.name) for field in dataclasses.fields(Settings))}
    return sorted(
        name
        for name in os.environ
        if name.startswith("ROOMCAST_") and name not in known and not name.startswith(_NOT_OURS)
    )


for command in COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    main()
