"""The command line. The options of `serve` are declared in `settings`; here they become flags."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import click

from roomcast import __version__
from roomcast.cli import COMMANDS, CONFIG_VARIABLE, URL_VARIABLE
from roomcast.cli import headers as given
from roomcast.model.errors import BadOption, CannotStart
from roomcast.model.settings import OPTIONS
from roomcast.model.settings.kinds import Choice, Repeated, Switch
from roomcast.model.settings.option import Option

_EPILOG = (
    "Each option is also an environment variable, and a name in the file of --config: --max-bytes is "
    "ROOMCAST_MAX_BYTES and max_bytes. Write sizes as 5MB (5,000,000) or 64KiB (65,536), and times as "
    "500ms, 10m, 1h30m or 7d."
)
_NOT_OURS = ("ROOMCAST_TEST_", "ROOMCAST_SERVICE_", "ROOMCAST_PORT_")
"""Prefixes of variables for our tests, and of those that Kubernetes sets if a service is named roomcast."""


class GroupedCommand(click.Command):
    """Groups the options under headings in its help."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options of `ctx`'s command to `formatter`, grouped, and then the epilog."""
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
    """An option with its heading."""

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
        help="A TOML file with options by their names. SIGHUP reads it again.",
        envvar=CONFIG_VARIABLE,
        metavar="FILE",
        type=click.UNPROCESSED,
    )


def _option(option: Option) -> GroupedOption:
    """The flag. Its text is passed on as it was given: `Configuration` parses it, and reads the other sources."""
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
    """A self-hosted server for server-sent events. A message that is posted to a room reaches every follower of
    the room within a millisecond; a client that was away resumes exactly."""
    for name in unknown_variables():
        click.echo(
            f"roomcast: the environment variable {name} is unknown and has no effect: correct or unset it",
            err=True,
        )


@_options
@main.command(cls=GroupedCommand)
@click.pass_context
def serve(ctx: click.Context, /, config: str | None, **options: Any) -> None:
    """Run the server."""
    _take_signals()
    from roomcast.serve.configuration import Configuration  # imported late: --help and --version do not need it

    given = {name: value for name, value in options.items() if _on_the_command_line(ctx, name)}
    try:
        configuration = Configuration(given, os.environ, config or None)
        from roomcast.serve import run  # later still: a mistake in the options is reported sooner

        run.run(configuration)
    except CannotStart as error:
        click.echo(f"roomcast: {error.detail}", err=True)
        sys.exit(2 if isinstance(error, BadOption) else 1)


def _on_the_command_line(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _take_signals() -> None:
    """Exits at SIGTERM and SIGINT until there is something to drain. Python's `KeyboardInterrupt` could be lost in
    the middle of an import, which then keeps the import lock, and the thread that opens the log would wait for it
    for ever. SIGHUP would kill the process: it is ignored until the configuration can be reloaded."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))


def unknown_variables() -> list[str]:
    """The environment variables whose names begin like ours, but that nothing reads, in alphabetical order."""
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
