"""The commands, one file each. Those that talk to a server use only `roomcast.client`.

This file imports none of them: `roomcast --help` and `roomcast serve` need no HTTP client.
"""

from __future__ import annotations

import importlib
from functools import cached_property
from typing import Any

import click

CONFIG_VARIABLE = "ROOMCAST_CONFIG"
"""The server's configuration file, if `--config` is not given."""
URL_VARIABLE = "ROOMCAST_URL"
"""The server's URL, if `--url` is not given."""


class Later(click.Command):
    """A command whose module is imported only when it is called; the help needs only its name and summary."""

    def __init__(self, name: str, module: str, summary: str) -> None:
        super().__init__(name, help=summary)
        self._module = module

    @cached_property
    def real(self) -> click.Command:
        """The command itself."""
        command = importlib.import_module(f"{__name__}.{self._module}").command
        assert isinstance(command, click.Command)
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        return self.real.make_context(info_name, args, parent, **extra)


COMMANDS = (
    Later("tail", "tail", "Follow rooms: the newest messages, and then each as it comes."),
    Later("publish", "publish", "Publish a message to a room, or each line of the input."),
    Later("rooms", "rooms", "List the rooms that have messages or followers."),
    Later("followers", "followers", "Show who follows, and who is behind."),
    Later("delete", "delete", "Delete a message, or all messages of a room."),
    Later("export", "export", "Write what is retained of rooms, as lines of JSON."),
    Later("import", "importing", "Publish the messages of a file that `export` wrote."),
    Later("doctor", "doctor", "Find out what stands between here and the server at URL."),
    Later("backup", "backup", "Copy the log of a server to FILE, while it runs."),
    Later("check", "check", "Check that a log in SQLite, or a copy of one, is sound."),
    Later("bench", "bench", "Measure the server at URL."),
    Later("key", "key", "Make a key, and the rows of the configuration that know it."),
    Later("ticket", "ticket", "Ask the server for a ticket: some rooms, for a while."),
    Later("token", "token", "Sign a token with the server's secret."),
    Later("revoke", "revoke", "End a person's tokens and tickets."),
    Later("rights", "rights", "Show who may read and publish."),
    Later("completion", "completion", "Print the script for completion in a shell."),
)
