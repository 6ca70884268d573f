"""docs/cli.md shows each command's help, and the commands understand its examples and those of the README."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from roomcast.cli import COMMANDS
from roomcast.cli.main import main
from tests.cli.shell import run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/cli.md").read_text()
EXAMPLES = [
    *re.findall(r"[`|] ?(roomcast (?!\S+ --help)[^`|\n]+)`", (ROOT / "README.md").read_text()),
    *(
        command
        for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        for command in re.findall(r"roomcast (?:(?! 2?>)[^|<\n])+", block)
    ),
]


@pytest.mark.parametrize("name", [str(command.name) for command in COMMANDS])
def test_the_help_in_the_docs_is_the_programs(name: str) -> None:
    text = run(name, "--help", COLUMNS="100").stdout
    block = f"```text\n$ roomcast {name} --help\n{text}```\n"
    assert block in PAGE, f"put this into docs/cli.md:\n{block}"


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_name_commands_and_options_that_there_are(
    example: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, *arguments = shlex.split(example)[1:]
    command = main.commands[name]
    arguments = ["-" if argument == "rooms.ndjson" else argument for argument in arguments]
    with command.make_context(name, arguments) as context:
        assert isinstance(context, click.Context)


def test_the_summaries_of_commands_fit_into_80_columns() -> None:
    _, commands = run("--help", COLUMNS="80").stdout.split("Commands:\n")
    assert "..." not in commands


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 10
