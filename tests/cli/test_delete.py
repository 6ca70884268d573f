"""`roomcast delete`: a message or a room, with a question first in a terminal."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator

import pytest

from roomcast.auth.keys import sha256
from tests.cli.shell import Program, run
from tests.conftest import Serve
from tests.running import Running

WRITER, ADMIN = "rck_writer_one", "rck_admin_two"
ROWS = f"""
[[key]]
name = "writer"
sha256 = "{sha256(WRITER)}"
read = ["*"]
publish = ["*"]
[[key]]
name = "admin"
sha256 = "{sha256(ADMIN)}"
admin = true
"""


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A terminal for typing, and the end that a program reads."""
    ends = pty.openpty()
    yield ends
    for end in ends:
        os.close(end)


def rooms(server: Running) -> dict[str, int]:
    return {row["room"]: row["messages"] for row in server.get("/rooms").json()["rooms"]}


def test_a_message_and_a_room_are_deleted_without_a_question_in_a_pipe(server: Running) -> None:
    ids = [str(server.publish("x", room)["id"]) for room in ("a", "a", "b")]
    done = run("delete", ids[0], url=server.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert server.get(f"/messages/{ids[0]}").status_code == 410
    assert server.get(f"/messages/{ids[1]}").status_code == 200
    assert run("delete", "--room", "a", url=server.url).returncode == 0
    assert rooms(server) == {"b": 1}
    again = run("delete", ids[0], url=server.url)
    assert (again.returncode, again.stderr.count("\n")) == (1, 1)
    assert "no longer retained" in again.stderr


@pytest.mark.parametrize("arguments", [[], ["abcd-1", "--room", "a"]])
def test_delete_needs_either_an_id_or_a_room(arguments: list[str]) -> None:
    done = run("delete", *arguments, url="http://127.0.0.1:1")
    assert done.returncode == 2
    assert "the id of a message, or --room" in done.stderr


def test_delete_asks_first_in_a_terminal(server: Running, terminal: tuple[int, int]) -> None:
    typed, read = terminal
    server.publish("x", "a")
    with Program("delete", "--room", "a", url=server.url, input=read) as program:
        program.until(r"Delete all messages of a for ever\?", "err")
        os.write(typed, b"n\n")
        assert program.wait() == 1
    assert rooms(server) == {"a": 1}
    with Program("delete", "--room", "a", "--yes", url=server.url, input=read) as program:
        assert program.wait() == 0
    assert rooms(server) == {}


def test_delete_needs_the_admin_right(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> None:
    config = tmp_path_factory.mktemp("rights") / "roomcast.toml"
    config.write_text(ROWS)
    server = serve("--config", str(config))
    stored = server._client.post(
        server.url + "/messages",
        json={"room": "a", "text": "x"},
        headers={"Authorization": f"Bearer {WRITER}"},
    )
    assert stored.status_code == 201
    id = stored.json()["id"]
    refused = run("delete", id, url=server.url, ROOMCAST_TOKEN=WRITER)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert run("delete", id, url=server.url, ROOMCAST_TOKEN=ADMIN).returncode == 0
    assert run("delete", id, url=server.url, ROOMCAST_TOKEN=ADMIN).returncode == 1
