"""The recipes of docs/rights.md work when pasted, and its program in each language publishes and gets a ticket."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from tests.observer import Observer
from tests.running import PATIENCE, start_roomcast
from tests.server.test_logins import commands

ROOT = Path(__file__).parents[1]
DOCS = (ROOT / "docs/rights.md").read_text()
LANGUAGES = {
    "py": ("program.py", [sys.executable, "program.py"]),
    "mjs": ("program.mjs", ["node", "program.mjs"]),
    "php": ("program.php", ["php", "program.php"]),
    "go": ("program.go", ["go", "run", "program.go"]),
    "bash": ("program.sh", ["bash", "-e", "program.sh"]),
}


def section(heading: str) -> str:
    return DOCS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


class Shop:
    """A folder in which the recipe "No JWT" was followed, and its server."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        prepare, serve, *self.steps = blocks(section("No JWT"), "sh")
        self.run(prepare)
        [*_, options] = serve.partition("roomcast serve")
        self.server = start_roomcast(folder, *shlex.split(options))
        self.key = (folder / "key").read_text().strip()

    def run(self, script: str, status: int = 0, env: Mapping[str, str] | None = None) -> str:
        """Runs a script of the docs with the tested `roomcast` and the server's port. Returns its output."""
        command = f'roomcast() {{ {shlex.quote(sys.executable)} -m roomcast "$@"; }}\n{script}'
        if hasattr(self, "server"):
            command = command.replace("localhost:8080", f"localhost:{self.server.port}")
        command = command.replace("curl ", "curl --silent --show-error --max-time 2 ")
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == status, (command, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    shop = Shop(tmp_path_factory.mktemp("shop"))
    yield shop
    shop.server.kill()


def test_the_recipe_without_jwt_ends_with_a_room_that_only_its_user_reads(shop: Shop) -> None:
    publish, stranger, ticket = shop.steps
    assert json.loads(shop.run(publish))["room"] == "user/42"
    refused = shop.run(stranger)
    assert refused.startswith("HTTP/1.1 401")
    assert 'www-authenticate: Bearer realm="roomcast"' in refused
    followed = shop.run(ticket, status=28)  # the stream goes on until curl's time is over
    assert "your order is on its way" in followed
    assert "event: live" in followed
    assert json.loads((shop.folder / "ticket.json").read_text())["url"].startswith(
        "/messages?room=user%2F42&ticket=rct1_"
    )
    assert "strangers read nothing and publish to nothing; keys of shop; tickets" in shop.server.said()


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_program_in_each_language_publishes_and_gets_a_ticket(shop: Shop, language: str) -> None:
    [program] = blocks(section("In your language"), language)
    file, command = LANGUAGES[language]
    if not shutil.which(command[0]):
        pytest.skip(f"{command[0]} is not installed")
    address = f"http://localhost:{shop.server.port}"
    (shop.folder / file).write_text(program.replace("http://localhost:8080", address))
    env = {"ROOMCAST_TOKEN": shop.key, "ROOMCAST_URL": address}
    headers = {"authorization": f"Bearer {shop.key}", "accept": "application/json"}
    before = shop.server.get("/messages?room=user/42", headers=headers).json()["position"]
    if language == "bash":
        ticket = shop.run(program, env=env).strip().splitlines()[-1]
    else:
        said = subprocess.run(
            command,
            cwd=shop.folder,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert said.returncode == 0, said.stderr
        ticket = str(httpx.URL(said.stdout.strip()).params["ticket"])
    follow = f"/messages?room=user/42&ticket={ticket}&last_event_id={before}"
    with Observer(shop.server.port, follow) as follower:
        told, live = follower.until_live()
        assert told.json["text"] == "your order is on its way"
        assert 3500 < live.json["expires_in"] <= 3631


def test_the_recipe_in_a_program_is_that_of_the_example() -> None:
    """`tests/server/test_logins.py` runs the example."""
    serve, clients = blocks(section("In my FastAPI or Django app"), "sh")
    example = {name: found[0].replace(f"{ROOT}/", "") for name, found in commands("fastapi_login").items()}
    assert serve.strip() == example["Run it"]
    assert clients.splitlines() == [example["Log in"], example["Follow"], example["Publish to it"]]


def test_the_pages_script_that_opens_streams_again_is_javascript(tmp_path: Path) -> None:
    _, script = blocks(section("No JWT"), "js")
    (tmp_path / "page.mjs").write_text(script)
    assert subprocess.run(["node", "--check", tmp_path / "page.mjs"], check=False).returncode == 0
