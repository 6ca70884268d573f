"""Completion in a shell, the modules it imports, and the names and summaries of commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from roomcast.cli import COMMANDS, LazyCommand
from roomcast.cli.main import unknown_variables
from tests.cli.shell import environment, run
from tests.conftest import require
from tests.running import PATIENCE, Running


def ended(*command: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE, **options)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_summary_of_a_command_is_its_helps_first_sentence(command: LazyCommand) -> None:
    assert command.real.help
    assert command.real.help.split("\n")[0] == command.help
    assert command.real.name == command.name


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["--version"]])
def test_help_and_the_server_need_no_http_client(arguments: list[str]) -> None:
    program = f"""
import sys, roomcast.cli.main
try:
    roomcast.cli.main.main({arguments!r})
finally:
    assert "httpx" not in sys.modules
"""
    done = ended(sys.executable, "-c", program)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0, done.stderr
    assert "_ROOMCAST_COMPLETE" in done.stdout
    assert run("completion", "csh").returncode == 2


def test_the_bash_script_is_bash() -> None:
    script = run("completion", "bash").stdout
    checked = ended(require("bash"), "-n", input=script)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("roomcast pub", {"publish"}),
        ("roomcast tail --ex", {"--exit-on-gap"}),
        ("roomcast tail dev", {"developers"}),
        ("roomcast export other d", {"developers"}),
        ("roomcast completion z", {"zsh"}),
    ],
)
def test_commands_options_and_rooms_are_completed(server: Running, typed: str, offered: set[str]) -> None:
    server.publish("x")
    assert set(_completed(typed, server.url)) == offered


def test_completion_without_a_server_prints_nothing() -> None:
    assert _completed("roomcast tail d", "http://127.0.0.1:9") == []


@pytest.mark.parametrize(("typed", "offered"), [("tail --exit", "--exit-on-gap"), ("tail dev", "developers")])
def test_bash_itself_completes_them(server: Running, tmp_path: Path, typed: str, offered: str) -> None:
    """The completions that bash has in `COMPREPLY`."""
    server.publish("x")
    (tmp_path / "roomcast").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m roomcast "$@"\n')
    (tmp_path / "roomcast").chmod(0o755)
    words = ["roomcast", *typed.split()]
    program = f"""
source <(roomcast completion bash)
complete -p roomcast >/dev/null || exit 1
COMP_WORDS=({" ".join(words)}) COMP_CWORD={len(words) - 1}
_roomcast_completion roomcast
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = ended(require("bash"), "-c", program, env=environment(ROOMCAST_URL=server.url, PATH=path))
    assert (done.stdout, done.stderr) == (f"{offered}\n", "")


@pytest.mark.parametrize("room", ["two words", "a;b", "x$y", "quo'te", "-x", "a\u202eb"])
def test_rooms_that_a_shell_needs_quoted_are_not_offered(server: Running, room: str) -> None:
    server.post([{"room": "plain:räume/1", "text": "x"}, {"room": room, "text": "x"}])
    assert _completed("roomcast tail", server.url, " ") == ["plain:räume/1"]


def _completed(typed: str, url: str, end: str = "") -> list[str]:
    """`end`: a space if the next word has not begun."""
    words = (typed + end).split(" ")
    asked = {"_ROOMCAST_COMPLETE": "bash_complete", "COMP_WORDS": typed + end, "COMP_CWORD": str(len(words) - 1)}
    program = "from roomcast.cli.main import main; main(prog_name='roomcast')"
    done = ended(sys.executable, "-c", program, env=environment(ROOMCAST_URL=url, **asked))
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_the_server_knows_the_variables_of_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOMCAST_URL", "http://x")
    monkeypatch.setenv("ROOMCAST_URI", "http://x")
    assert "ROOMCAST_URL" not in unknown_variables()
    assert "ROOMCAST_URI" in unknown_variables()


def test_every_command_names_an_unknown_variable(server: Running) -> None:
    done = run("tail", "developers", "--replay=some", url=server.url, ROOMCAST_URI="http://x")
    first, second = done.stderr.splitlines()
    assert first.endswith("ROOMCAST_URI is unknown and has no effect: correct or unset it")
    assert second.startswith("roomcast: replay must be")
