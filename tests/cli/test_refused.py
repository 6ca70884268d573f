"""Every command at a server with rights: a refusal is one sentence and status 1."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from roomcast.auth.keys import sha256
from tests.cli.shell import run
from tests.running import Running, start_roomcast

READER, WRITER = "rck_reader_" + 43 * "r", "rck_writer_" + 43 * "w"
HOLDS = "(put a key, a ticket or a token into ROOMCAST_TOKEN)"

COMMANDS = [["tail", "a"], ["publish", "a", "text"], ["rooms"], ["export", "a"]]


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("guarded")
    (folder / "secret").write_text("0123456789abcdefghijklmnopqrstuvwxyz")
    (folder / "roomcast.toml").write_text(
        f'secret_files = ["{folder / "secret"}"]\n'
        f'[[key]]\nname = "reader"\nsha256 = "{sha256(READER)}"\nread = ["a"]\npublish = []\n'
        f'[[key]]\nname = "writer"\nsha256 = "{sha256(WRITER)}"\nread = ["*"]\npublish = ["a", "b"]\n'
    )
    server = start_roomcast(folder, "--config", str(folder / "roomcast.toml"))
    yield server
    server.kill()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_missing_or_wrong_credential_is_reported_with_the_variable_for_it(
    guarded: Running, command: list[str]
) -> None:
    nobody = run(*command, url=guarded.url)
    wrong = run(*command, url=guarded.url, ROOMCAST_TOKEN="rck_reader_wrong")
    for done, words in ((nobody, "send a key, a ticket or a token"), (wrong, "not valid")):
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("roomcast: ")
        assert words in done.stderr
        assert done.stderr.endswith(f"{HOLDS}\n")
        assert done.stderr.count("\n") == 1
        assert "rck_reader_wrong" not in done.stderr


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["tail", "a", "b"], "b may not be read with this credential"),
        (["publish", "a", "text"], "this credential gives no right to publish"),
        (["ticket", "--room=b"], "b may not be read with this credential"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_the_error_for_a_missing_right_names_the_room(guarded: Running, command: list[str], words: str) -> None:
    done = run(*command, url=guarded.url, ROOMCAST_TOKEN=READER)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("roomcast: ")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_lines_without_a_right_are_counted_as_not_stored(guarded: Running, tmp_path: Path) -> None:
    lines = '{"room": "b", "text": "1"}\n{"room": "c", "text": "2"}\n{"room": "b", "text": "3"}\n'
    done = run("publish", "a", "--ndjson", url=guarded.url, input=lines, ROOMCAST_TOKEN=WRITER)
    assert done.returncode == 1
    assert "line 2 is refused: room c may not be published to with this credential; 1 message is" in done.stderr


def test_a_pipe_that_may_not_be_published_is_read_to_its_end(guarded: Running) -> None:
    done = run("publish", "a", url=guarded.url, input="1\n2\n3\n", ROOMCAST_TOKEN="rck_writer_wrong")
    assert done.returncode == 1
    assert "refused: not valid; 0 messages are stored; reading on" in done.stderr
    assert "3 messages are not stored" in done.stderr


def test_a_ticket_is_given_by_a_real_server(guarded: Running) -> None:
    done = run("ticket", "--room=a", "--for=1500ms", url=guarded.url, ROOMCAST_TOKEN=READER)
    assert (done.returncode, done.stderr) == (0, "")
    assert run("rooms", url=guarded.url, ROOMCAST_TOKEN=done.stdout).returncode == 0
