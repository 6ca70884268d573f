"""The docs name every route, option, metric and module, and their commands work as written."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from roomcast.http.all_routes import ROUTES
from roomcast.http.families import ENDINGS
from roomcast.model.settings import OPTIONS
from roomcast.model.settings.option import Option
from roomcast.model.shapes import GAP_REASONS
from tests.conftest import Serve
from tests.running import PATIENCE, Running

ROOT = Path(__file__).parents[1]
API = (ROOT / "docs/api.md").read_text()
README = (ROOT / "README.md").read_text()
SRC = ROOT / "src/roomcast"
GROUPS = {"log/memory", "log/sqlite", "log/postgresql", "log/mongodb", "cli", "page"}
"""Folders whose modules the architecture need not name individually."""
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    ("method", "path"), [(method, path) for path, handlers in ROUTES.items() for method in handlers]
)
def test_every_route_is_in_the_docs(method: str, path: str) -> None:
    assert f"`{method} {path}`" in API


@pytest.mark.parametrize("option", OPTIONS.values(), ids=lambda option: option.name)
def test_every_option_is_in_the_docs_with_its_variable_and_default(option: Option) -> None:
    rows = [line for line in API.splitlines() if line.startswith(f"| `{option.flag}`")]
    assert len(rows) == 1
    assert f"`{option.variable}`" in rows[0]
    if isinstance(option.default, (int, float)) and not isinstance(option.default, bool):
        assert f"| {option.default:.12g} |" in rows[0]
    elif isinstance(option.default, str):
        assert f"| {option.default} |" in rows[0]


def test_every_metric_is_in_the_docs(server: Running) -> None:
    names = set(re.findall(r"^# TYPE (roomcast_\w+)", server.get("/metrics").text, re.MULTILINE))
    assert names
    assert {name for name in names if name not in API} == set()
    assert all(f"`{word}`" in API for word in (*ENDINGS, *GAP_REASONS))


def test_the_architecture_names_every_module_and_no_other() -> None:
    """Each module is named in the row of its folder. The log's backends and the commands are described as
    groups."""
    named = _named_modules()
    for folder in named.keys() - GROUPS:
        folders = {file.parent.name for file in (SRC / folder).glob("*/__init__.py")}
        inside = {file.stem for file in (SRC / folder).glob("*.py")} | folders
        missing = {name for name in inside - named[folder] if f"{folder}/{name}" not in named} - {"__init__"}
        assert not missing, f"describe these in the row of {folder}/ in docs/architecture.md"
    modules = {path.with_suffix("").name for path in SRC.rglob("*")}
    stale = {name for names in named.values() for name in names if name.rpartition("/")[2] not in modules}
    assert not stale, "docs/architecture.md names modules that do not exist"


def _named_modules() -> dict[str, set[str]]:
    """The names in each row of the architecture's table, by the folder of the row."""
    table = (ROOT / "docs/architecture.md").read_text().partition("## Laws")[0]
    rows = re.findall(r"^\| (`[^|]+`) \| (.*) \|$", table, re.MULTILINE)
    return {
        folder: set(re.findall(r"`([a-z0-9_/]+?)/?`", cell))
        for folders, cell in rows
        for folder in re.findall(r"`([a-z_/]+?)/?`", folders)
    }


def test_every_test_that_the_guarantees_name_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/guarantees.md").read_text()))
    written = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert named
    assert named - written == set()


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_every_link_between_the_docs_leads_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target
    headings = {
        re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in re.findall("^#+ (.*)", text, re.M)
    }
    assert {anchor for anchor in re.findall(r"\]\(#([^)]+)\)", text) if anchor not in headings} == set()


def test_the_readmes_commands_do_what_it_says(tmp_path: Path) -> None:
    """Runs `make run`, then each command as it is written, all on free ports."""
    run, curl, follow = blocks(README, "sh")
    port, page_port = _free_ports(2)
    env = {
        # Not those of a `make test ARGS=…` that runs this test.
        "ARGS": "",
        "MAKEFLAGS": "",
        "MAKEOVERRIDES": "",
        "ROOMCAST_PORT": str(port),
        "ROOMCAST_PAGE_PORT": str(page_port),
        "ROOMCAST_LOG": f"sqlite:{tmp_path}/x.db",
    }
    server = Running([*run.split(), f"--directory={ROOT}"], tmp_path, env)
    try:
        server.wait_until_it_says(r"^  log ")
        server.port = port
        assert " ".join(curl.replace("\\\n", "").split()) in server.said().replace(f":{port}", ":8080")
        answer = _shell(curl, port)
        assert json.loads(answer)["text"] == "was geht ab in buxtehude?"
        assert _shell(follow.replace("curl ", "curl --max-time 1 "), port, status=28).count("buxtehude") == 1
        assert f"http://localhost:{page_port}/?room=developers" in server.said()
    finally:
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(PATIENCE)
        server.kill()


def test_the_apis_commands_do_what_it_says(serve: Serve) -> None:
    server = serve()
    publish, follow, resume = (command.replace("curl -N", "curl --max-time 1 -N") for command in blocks(API, "sh"))
    stored = json.loads(_shell(publish, server.port))
    assert stored["text"] == "hello"
    assert "hello" in _shell(follow, server.port, status=28)
    seen = re.sub("Last-Event-ID: [^']+", f"Last-Event-ID: {stored['id']}", resume)
    said = _shell(seen, server.port, status=28)
    assert 'data: {"replayed":0}' in said
    assert "gap" not in said


def test_the_error_in_the_docs_is_the_servers_answer(server: Running) -> None:
    [shown] = blocks(API, "json")
    answer = server.post({"text": "x", "rooms": "developers"})
    assert answer.json() == json.loads(shown)


async def test_the_readmes_python_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [program] = blocks(README, "python")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(program, names)
    live, paid = names["live"], names["paid"]
    async with live:  # type: ignore[attr-defined]
        await paid(7)  # type: ignore[operator]
        stored = await live.publish("orders", text="one more")  # type: ignore[attr-defined]
    assert stored["id"].endswith("-2")


def _shell(command: str, port: int, status: int = 0) -> str:
    command = command.replace(":8080", f":{port}").replace("curl ", "curl --silent --show-error ", 1)
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
