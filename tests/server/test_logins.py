"""The examples with a login of their own, started and used as their first lines say."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.observer import Observer
from tests.running import PATIENCE, start_uvicorn

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = ["fastapi_login", "django_login"]


def commands(name: str) -> dict[str, list[str]]:
    """The commands of an example, by the word before them; a command that goes on begins with spaces alone."""
    text = (EXAMPLES / f"{name}.py").read_text()
    found: dict[str, list[str]] = {}
    for word, command in re.findall(r"^(\w[\w ]*:|    ) +(\S.*)$", text.partition('\n"""')[0], re.MULTILINE):
        found.setdefault(word.strip(" :") or [*found][-1], []).append(command.replace("examples", str(EXAMPLES)))
    return found


class Program:
    """An example that runs; its commands go to it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.commands = commands(name)
        self.folder = folder
        for command in self.commands.get("Prepare it", []):
            self.shell(command.replace("python ", ".venv/bin/python ", 1).replace(".venv", _venv(), 1))
        [run] = self.commands["Run it"]
        self.running = start_uvicorn(folder, f"{name}:app", *shlex.split(run)[1:-1], "--http=h11")

    def shell(self, command: str, status: int = 0) -> str:
        if hasattr(self, "running"):
            command = command.replace("localhost:8000", f"127.0.0.1:{self.running.port}")
        command = command.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)
        done = subprocess.run(
            command, shell=True, cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == status, (command, done.stdout, done.stderr)
        return done.stdout

    def follow(self, room: str, cookie: str | None) -> Observer:
        headers = {"Cookie": cookie} if cookie else {}
        return Observer(self.running.port, f"/live/messages?room={room}", headers=headers)

    def cookie(self) -> str:
        """The cookie that the login has put into the jar."""
        [line] = [line for line in (self.folder / "jar").read_text().splitlines() if line.count("\t") == 6]
        return "=".join(line.split("\t")[5:])


def _venv() -> str:
    return str(EXAMPLES.parent / ".venv")


@pytest.fixture(params=PROGRAMS, scope="module")
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    program = Program(request.param, tmp_path_factory.mktemp(request.param))
    yield program
    program.running.kill()


def test_a_user_that_has_logged_in_reads_their_own_room_and_no_other(program: Program) -> None:
    [login], [follow], [publish] = (program.commands[name] for name in ("Log in", "Follow", "Publish to it"))
    refused = program.shell(follow, status=22)
    assert '"status":401' in refused
    program.shell(login)
    [room] = re.findall(r"room=(user/\d+)", follow)
    with program.follow(room, program.cookie()) as follower:
        follower.until_live()
        stored = program.shell(publish)
        assert "order 12 is paid" in stored
        assert follower.next().json["text"] == "order 12 is paid"
    other = program.shell(follow.replace(room, f"{room}0"), status=22)
    assert f"{room}0 may not be read" in other


def test_a_page_of_another_site_is_not_let_in_by_the_cookie(program: Program) -> None:
    [login], [follow] = program.commands["Log in"], program.commands["Follow"]
    program.shell(login)
    refused = program.shell(follow.replace("-N", "-N -H 'Sec-Fetch-Site: cross-site'"), status=22)
    assert '"status":403' in refused
