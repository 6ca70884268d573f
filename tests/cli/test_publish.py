"""`roomcast publish`: one message, lines, objects; what is refused and what had been stored."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shell import Program, run
from tests.conftest import Serve
from tests.running import PATIENCE, Running, wait_for


def history(server: Running, room: str = "developers", limit: int = 1000) -> list[dict[str, Any]]:
    answer = server.get(
        f"/messages?room={room}&limit={limit}&replay={limit}", headers={"Accept": "application/json"}
    )
    messages = answer.json()["messages"]
    assert isinstance(messages, list)
    return messages


def texts(server: Running) -> list[str]:
    return [message["text"] for message in history(server)]


def test_a_single_message_prints_its_id(server: Running) -> None:
    done = run(
        "publish", "developers", "grüße", "--user=anna", "--type=order.paid", '--data={"n": 1}', url=server.url
    )
    assert done.returncode == 0, done.stderr
    [stored] = history(server)
    assert done.stdout == f"{stored['id']}\n"
    assert (stored["user"], stored["text"], stored["type"], stored["data"]) == (
        "anna",
        "grüße",
        "order.paid",
        {"n": 1},
    )


def test_data_may_stand_alone_also_null(server: Running) -> None:
    assert run("publish", "developers", "--data=null", url=server.url).returncode == 0
    assert history(server)[0]["data"] is None
    assert "text" not in history(server)[0]


def test_the_same_key_stores_once(server: Running) -> None:
    first, second = (run("publish", "developers", "x", "--key=k1", url=server.url).stdout for _ in range(2))
    assert first == second
    assert texts(server) == ["x"]


def test_lines_become_messages(server: Running) -> None:
    done = run("publish", "developers", "--user=log", url=server.url, input="one\r\n\ntwo\nthree")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [(m["user"], m["text"]) for m in history(server)] == [("log", "one"), ("log", "two"), ("log", "three")]


def test_a_line_is_published_when_it_comes(server: Running) -> None:
    read, write = os.pipe()
    with Program("publish", "developers", url=server.url, input=read) as publish:
        os.close(read)
        for n in range(3):
            os.write(write, f"line {n}\nand the beginning ".encode())
            wait_for(lambda n=n: len(texts(server)) == n + 1, "the line")  # type: ignore[misc]
        os.close(write)
        assert publish.wait() == 0
    assert texts(server)[-1] == "and the beginning "
    assert len(texts(server)) == 4


def test_a_long_file_goes_in_large_batches(server: Running, tmp_path: Path) -> None:
    file = tmp_path / "long.txt"
    file.write_text("".join(f"{n} {'x' * (n % 1000)}\n" for n in range(2000)))
    with file.open() as input, Program("publish", "developers", url=server.url, input=input.fileno()) as publish:
        assert publish.wait() == 0
    assert server.get("/rooms").json()["rooms"][0]["messages"] == 2000
    assert [text.split()[0] for text in texts(server)] == [*map(str, range(1000, 2000))]
    assert server.metric('roomcast_requests_total{method="POST",status="201"}') < 20


def test_a_body_stays_well_under_what_a_server_takes(serve: Serve) -> None:
    server = serve("--max-body=700000")
    lines = "\x01" * 9_000 + "\n"  # each six bytes in JSON
    done = run("publish", "developers", url=server.url, input=lines * 50)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(texts(server)) == 50
    assert 'status="413"' not in server.get("/metrics").text


def test_a_server_that_takes_less_at_once_gets_less(serve: Serve) -> None:
    server = serve("--max-body=5000")
    done = run("publish", "developers", url=server.url, input="x" * 100 + "\n" + ("y" * 100 + "\n") * 199)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(texts(server)) == 200


def test_objects_keep_their_fields_and_take_the_rest_from_the_options(server: Running) -> None:
    lines = [
        {"text": "a"},
        {"data": {"n": [1, None]}, "user": "bo", "type": "x.y"},
        {"text": "c", "room": "other"},
    ]
    input = "".join(json.dumps(line) + "\n" for line in lines)
    done = run("publish", "developers", "--ndjson", "--user=log", url=server.url, input=input)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = history(server)
    assert (first["user"], first["text"]) == ("log", "a")
    assert (second["user"], second["type"], second["data"]) == ("bo", "x.y", {"n": [1, None]})
    assert [m["text"] for m in history(server, "other")] == ["c"]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ('{"txt": "x"}', "line 703 is refused: txt is not a field of a message: did you mean text?"),
        (f'{{"text": "{"x" * 70000}"}}', "line 703 is refused: the message takes 7"),
        ("[1]", "line 703 is no JSON object"),
        ("{", "line 703 is not JSON"),
        ('{"data": NaN}', "line 703 is not what JSON can say"),
        ('{"text": "\\ud800"}', "line 703 is not what JSON can say"),
    ],
)
def test_a_refused_line_is_named_and_all_before_it_are_stored(server: Running, bad: str, words: str) -> None:
    good = '{"text": "x"}\n'
    done = run("publish", "developers", "--ndjson", url=server.url, input=f"{good * 701}\n{bad}\n{good * 9}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"roomcast: {words}")
    assert done.stderr.endswith("; 701 messages are stored\n")
    assert done.stderr.count("\n") == 1
    assert server.get("/rooms").json()["rooms"][0]["messages"] == 701


def test_a_line_that_does_not_end_is_named(server: Running) -> None:
    done = run("publish", "developers", url=server.url, input=b"good\n\n" + b"x" * (9 * 1024 * 1024))
    assert done.returncode == 1
    assert done.stderr == "roomcast: line 3 has more than 8,388,608 bytes; 1 message is stored\n"


def test_what_is_not_utf_8_is_named(server: Running) -> None:
    done = run("publish", "developers", url=server.url, input=b"good\nb\xe4d\n")
    assert done.returncode == 1
    assert done.stderr.startswith("roomcast: line 2 is not UTF-8")
    assert texts(server) == ["good"]


def test_in_a_terminal_the_end_says_how_many(server: Running, tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("a\nb\n")
    with (
        file.open() as input,
        Program("publish", "r", url=server.url, input=input.fileno(), terminal=True) as publish,
    ):
        assert publish.wait() == 0
    assert publish.out == "roomcast: 2 messages are stored\r\n"


def test_long_input_shows_its_progress_in_a_terminal(server: Running) -> None:
    read, write = os.pipe()
    with Program("publish", "developers", url=server.url, terminal=True, input=read) as publish:
        os.close(read)
        end = time.monotonic() + PATIENCE
        while "messages stored, " not in publish.out:
            assert time.monotonic() < end, publish.out
            os.write(write, b"x\n" * 10)  # in all less than a pipe holds: it never waits
            publish.look()
        os.close(write)
        assert publish.wait() == 0
    assert publish.out.endswith("\r\x1b[Kroomcast: " + publish.out.rsplit("roomcast: ")[1])


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["developers", "x", "--data={"], 2, "not JSON"),
        (["developers", "--key=k"], 2, "--key"),
        (["developers", "x", "--ndjson"], 2, "--ndjson"),
        (["developers", ""], 1, "/text must be"),
        (["developers", "x", "--type=gap"], 1, "/type must be"),
        (["developers", "x", "--key=ä"], 1, "roomcast: "),
    ],
)
def test_what_cannot_be_is_one_sentence(server: Running, arguments: list[str], status: int, words: str) -> None:
    done = run("publish", *arguments, url=server.url)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not server.get("/rooms").json()["rooms"]
