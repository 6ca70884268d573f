"""The command line. Each option is declared in `settings`; here it becomes a flag."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any

import click

from roomcast import __version__
from roomcast.cli import COMMANDS, CONFIG_VARIABLE, URL_VARIABLE
from roomcast.cli import headers as given
from roomcast.cli.finite import FiniteRange
from roomcast.model.errors import BadOption, CannotStart
from roomcast.model.settings import OPTIONS
from roomcast.model.settings.kinds import Choice, Repeated, Switch
from roomcast.model.settings.option import Option

_EPILOG = (
    "Each option is also an environment variable, and a name in the file of --config: --max-bytes is "
    "ROOMCAST_MAX_BYTES and max_bytes. Sizes may be written as 5MB (5,000,000) or 64KiB (65,536), times as "
    "500ms, 10m, 1h30m or 7d."
)
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
        formatter.write_text(_EPILOG)


class GroupedOption(click.Option):
    """An option that knows its heading."""

    def __init__(self, *args: Any, group: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


def _options(command: click.Command) -> click.Command:
    command.params[:0] = [
        _config_option(),
        *(_option(option) for option in OPTIONS.values() if not option.private),
    ]
    return command


def _config_option() -> GroupedOption:
    return GroupedOption(
        ["--config"],
        group="Configuration",
        help="A TOML file with options by their names, read again at SIGHUP.",
        envvar=CONFIG_VARIABLE,
        metavar="FILE",
        type=click.UNPROCESSED,
    )


def _option(option: Option) -> GroupedOption:
    """The flag alone, as it was given: what it means, and what else gives the option, is `Configuration`'s."""
    words = option.kind.words if isinstance(option.kind, Choice) else ()
    return GroupedOption(
        [f"{option.flag}/--no-{option.flag[2:]}" if option.negatable else option.flag, option.name],
        group=option.group,
        help=option.help,
        default=option.default,
        show_default=True,
        is_flag=isinstance(option.kind, Switch),
        multiple=isinstance(option.kind, Repeated),
        metavar=option.kind.metavar,
        type=None if isinstance(option.kind, Switch) else click.UNPROCESSED,
        shell_complete=lambda ctx, param, begun: [word for word in words if word.startswith(begun)],
    )


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
def serve(ctx: click.Context, /, config: str | None, **options: Any) -> None:
    """Run the server."""
    _take_signals()
    from roomcast.serve.configuration import Configuration  # late: --help and --version need none of it

    given = {name: value for name, value in options.items() if _on_the_command_line(ctx, name)}
    try:
        configuration = Configuration(given, os.environ, config or None)
        from roomcast.serve import run  # later still: a mistake is answered sooner

        run.run(configuration)
    except CannotStart as error:
        click.echo(f"roomcast: {error.detail}", err=True)
        sys.exit(2 if isinstance(error, BadOption) else 1)


def _on_the_command_line(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _take_signals() -> None:
    """Leaves at SIGTERM and SIGINT until there is something to drain. Not by Python's `KeyboardInterrupt`: raised
    in the middle of an import it may be lost there, with the import lock taken, and the thread that opens the log
    waits for that for ever. SIGHUP, which kills by default, is ignored until the configuration can be reloaded."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
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
    known = {
        URL_VARIABLE,
        CONFIG_VARIABLE,
        given.VARIABLE,
        given.TOKEN_VARIABLE,
        *(option.variable for option in OPTIONS.values()),
    }
    return sorted(
        name
        for name in os.environ
        if name.startswith("ROOMCAST_") and name not in known and not name.startswith(_NOT_OURS)
    )


for command in COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    main()
