"""The commands, one file each. A command that talks to a server uses `roomcast.client`; only bench, doctor and
torture send requests of their own.

This file imports no command's module: `roomcast --help` and `roomcast serve` need no HTTP client.
"""

from __future__ import annotations

import importlib
from functools import cached_property
from typing import Any

import click

CONFIG_VARIABLE = "ROOMCAST_CONFIG"
"""The server's configuration file, if `--config` is not given."""
config_option = click.option(
    "--config",
    envvar=CONFIG_VARIABLE,
    show_envvar=True,
    metavar="FILE",
    help="The server's configuration file.",
)
URL_VARIABLE = "ROOMCAST_URL"
"""The server's URL, if `--url` is not given."""


class LazyCommand(click.Command):
    """A command whose module is imported only when it is called; the list of commands needs only its summary."""

    def __init__(self, name: str, module: str, summary: str) -> None:
        super().__init__(name, help=summary)
        self._module = module

    @cached_property
    def real(self) -> click.Command:
        """The command of the module."""
        command = importlib.import_module(f"{__name__}.{self._module}").command
        assert isinstance(command, click.Command)
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Makes the context of the real command, which parses `args`; `info_name`, `parent` and `extra` are
        click's."""
        return self.real.make_context(info_name, args, parent, **extra)


COMMANDS = (
    LazyCommand("tail", "tail", "Follow rooms: print the newest messages, then each new one."),
    LazyCommand("publish", "publish", "Publish a message to a room, or each line of the input."),
    LazyCommand("rooms", "rooms", "List the rooms that have messages or followers."),
    LazyCommand("followers", "followers", "List the followers, and how far each is behind."),
    LazyCommand("delete", "delete", "Delete a message, or all messages of a room."),
    LazyCommand("export", "export", "Write the retained messages of rooms as lines of JSON."),
    LazyCommand("import", "importing", "Publish the messages of a file that `export` wrote."),
    LazyCommand("doctor", "doctor", "Check the proxies between here and the server at URL."),
    LazyCommand("backup", "backup", "Copy the log of a running server to FILE."),
    LazyCommand("check", "check", "Check a log in SQLite, or a copy of one, for damage."),
    LazyCommand("bench", "bench", "Measure the server at URL."),
    LazyCommand("torture", "torture", "Attack the server at URL to see whether it keeps its promises."),
    LazyCommand("key", "key", "Make a key, and its entry for the configuration file."),
    LazyCommand("ticket", "ticket", "Get a ticket: a credential for some rooms, for a while."),
    LazyCommand("token", "token", "Sign a token with the server's secret."),
    LazyCommand("revoke", "revoke", "End a person's tokens and tickets."),
    LazyCommand("rights", "rights", "Show who may read and publish."),
    LazyCommand("completion", "completion", "Print the script for completion in a shell."),
)
