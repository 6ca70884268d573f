"""`roomcast publish`: one message, lines, objects; refused lines and the number of stored ones."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from roomcast.auth.keys import sha256
from roomcast.cli.batches import Line, NonStopSender
from roomcast.cli.lines import InputLine
from roomcast.cli.texts import Texts
from roomcast.client import Client, Stored, Unreachable
from roomcast.client.request import encoded
from roomcast.model.draft import parse_json
from tests.cli.shell import ROOMCAST, TO_THE_END, Program, environment, run
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


def test_data_needs_no_text_and_may_be_null(server: Running) -> None:
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


def test_lines_are_published_as_the_user_of_the_credential(serve: Serve, tmp_path: Path) -> None:
    key = "rck_anna_" + 43 * "a"
    config = tmp_path / "roomcast.toml"
    row = f'[[key]]\nname = "anna"\nsha256 = "{sha256(key)}"\nread = ["*"]\npublish = ["*"]\nuser = "anna"\n'
    config.write_text(row)
    server = serve(f"--config={config}")
    done = run("publish", "developers", url=server.url, input="one\ntwo\n", ROOMCAST_TOKEN=key)
    assert (done.returncode, done.stderr) == (0, "")
    with Client(server.url, auth=key) as client:
        assert [(m.user, m.text) for m in client.history("developers").messages] == [
            ("anna", "one"),
            ("anna", "two"),
        ]


def test_a_line_is_published_as_soon_as_it_comes(server: Running) -> None:
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


def test_a_batch_stays_far_below_the_servers_limit(serve: Serve) -> None:
    server = serve("--max-body=700000")
    lines = "\x01" * 9_000 + "\n"  # each six bytes in JSON
    done = run("publish", "developers", url=server.url, input=lines * 50)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(texts(server)) == 50
    assert 'status="413"' not in server.get("/metrics").text


def test_a_server_with_a_lower_limit_gets_smaller_batches(serve: Serve) -> None:
    server = serve("--max-body=5000")
    done = run("publish", "developers", url=server.url, input="x" * 100 + "\n" + ("y" * 100 + "\n") * 199)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(texts(server)) == 200


def test_objects_take_missing_fields_from_the_options(server: Running) -> None:
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
        ('{"data": NaN}', "line 703 is not JSON: NaN is no JSON"),
        ('{"text": "\\ud800"}', "line 703 is not JSON: it has half of a surrogate pair"),
        ('{"text": "\\ud83d"', "line 703 is not JSON: Expecting ',' delimiter: line 1 column 18"),
        ('{"data": 1e400}', "line 703 is refused: data has a number that others cannot read"),
    ],
)
def test_a_refused_line_is_named_and_the_lines_before_it_are_stored(server: Running, bad: str, words: str) -> None:
    good = '{"text": "x"}\n'
    done = run("publish", "developers", "--ndjson", url=server.url, input=f"{good * 701}\n{bad}\n{good * 9}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"roomcast: {words}")
    assert done.stderr.endswith("; 701 messages are stored\n")
    assert done.stderr.count("\n") == 1
    assert server.get("/rooms").json()["rooms"][0]["messages"] == 701


def test_an_endless_line_of_json_is_named(server: Running) -> None:
    input = b'{"text": "good"}\n\n{"text": "' + b"x" * (9 * 1024 * 1024)
    done = run("publish", "developers", "--ndjson", url=server.url, input=input)
    assert done.returncode == 1
    assert done.stderr == "roomcast: line 3 has more than 8,388,608 bytes: split it; 1 message is stored\n"


def test_any_output_of_a_build_is_stored_and_the_build_is_not_killed(server: Running) -> None:
    build = (
        r"printf 'good\nb\344d\n'; head -c 70000 /dev/zero | tr '\0' x; printf '\n'; "
        r"head -c 9000000 /dev/zero | tr '\0' '\1'; printf '\nlast\n'"
    )
    roomcast = " ".join(ROOMCAST)
    done = subprocess.run(
        ["bash", "-c", f"({build}) | {roomcast} publish builds; echo ${{PIPESTATUS[*]}}"],
        env=environment(ROOMCAST_URL=server.url),
        capture_output=True,
        text=True,
        timeout=TO_THE_END,
        check=False,
    )
    assert done.stdout == "0 0\n"
    changed = "1 line was not UTF-8: unreadable bytes are stored as \ufffd; 2 lines were too long, and cut"
    assert done.stderr == f"roomcast: {changed}\n"
    good, bad, long, longer, last = (message["text"] for message in history(server, "builds"))
    assert (good, bad, last) == ("good", "b\ufffdd", "last")
    assert re.fullmatch(r"x{63000,63999} … \[cut: the line has 70,000 bytes\]", long)
    assert re.fullmatch(r"\x01{10000,11000} … \[cut: the line has 9,000,000 bytes\]", longer)


@pytest.mark.parametrize("text", ["x", "ä", "入", "😀", '"', "\x1b", "\u2028", "x入\x85"])
def test_a_line_is_cut_to_the_servers_limit_for_all_characters(text: str) -> None:
    cutting = Texts({"room": "builds"})
    content = (text * 80_000).encode()
    line = cutting.line(1, InputLine(content, len(content)))
    request = parse_json(encoded(line.message), 64_000)
    assert 63_900 < len(request.drafts[0].body) <= 64_000
    assert cutting.cut == 1


def test_a_server_with_a_lower_limit_for_messages_gets_shorter_lines(serve: Serve) -> None:
    server = serve("--max-message=5000")
    done = run("publish", "developers", url=server.url, input=("x" * 20_000 + "\nshort\n") * 100)
    assert (done.returncode, done.stderr) == (0, "roomcast: 100 lines were too long, and cut\n")
    stored = texts(server)
    assert stored[1::2] == ["short"] * 100
    mark = " … [cut: the line has 20,000 bytes]"
    assert all(2000 < len(text) < 5000 and text.endswith(mark) for text in stored[::2])


def test_a_pipe_is_read_to_its_end_if_no_line_can_be_stored(server: Running) -> None:
    done = run("publish", "$builds", url=server.url, input="x\n" * 20_000)
    assert done.returncode == 1
    first, last = done.stderr.splitlines()
    assert first.startswith("roomcast: line 1 is refused: room must be")
    assert first.endswith("; 0 messages are stored; reading on")
    assert last == "roomcast: 20,000 messages are not stored or not confirmed; 0 messages are stored"


class Flaky:
    """The client of a server that is sometimes away."""

    def __init__(self) -> None:
        self.away = False
        self.asked = 0
        self.stored: list[str] = []

    def publish_batch(self, messages: list[dict[str, Any]], idempotency_key: str | None = None) -> Stored:
        self.asked += 1
        if self.away:
            raise Unreachable("the server is away")
        self.stored += [message["text"] for message in messages]
        return Stored()


def test_a_pipe_is_read_while_the_server_is_away() -> None:
    patient, impatient = Flaky(), Flaky()
    said: list[str] = []
    sender = NonStopSender(patient, impatient, said.append, lambda batch, place: False)  # type: ignore[arg-type]

    def send(number: int) -> None:
        sender.send([Line.of(number, {"text": str(number)})])

    send(1)
    patient.away = impatient.away = True
    for number in range(2, 5):
        send(number)
    assert (patient.asked, impatient.asked) == (2, 2)
    patient.away = impatient.away = False
    send(5)
    send(6)
    assert (patient.stored, impatient.stored) == (["1", "6"], ["5"])
    assert (sender.stored, sender.lost) == (3, 3)
    [told] = said
    assert told.startswith("the server is away; 1 message is stored")


def test_a_file_is_stored_up_to_a_refused_line(server: Running, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_text("x\n" * 1000)
    with file.open() as input, Program("publish", "$x", url=server.url, input=input.fileno()) as publish:
        assert publish.wait() == 1
    assert publish.err.count("\n") == 1
    assert publish.err.endswith("; 0 messages are stored\n")


NUMBERS = ["12345678901234567.89", "-0", "1e-400", "12345678901234567890", "0.10", "1E5", '[{"a":1,"a":2}]']


def test_json_is_stored_unchanged(server: Running, tmp_path: Path) -> None:
    data = f'{{"numbers":[{",".join(NUMBERS)}],"a":1,"a":2}}'
    exported = (
        f'{{"id":"abcd-1","room":"developers","user":"a","data":{data},"timestamp":"2026-11-26T00:00:00.000Z"}}'
    )
    (tmp_path / "x").write_text(f"{exported}\n")
    assert run("publish", "developers", f"--data={data}", url=server.url).returncode == 0
    assert run("publish", "developers", "--ndjson", url=server.url, input=f'{{"data": {data} }}').returncode == 0
    assert run("import", str(tmp_path / "x"), url=server.url).returncode == 0
    lines = run("export", "developers", url=server.url).stdout.splitlines()
    assert [line.partition('"data":')[2].rpartition(',"timestamp"')[0] for line in lines] == [data] * 3


def test_the_number_of_stored_messages_is_printed_in_a_terminal(server: Running, tmp_path: Path) -> None:
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
            os.write(write, b"x\n" * 10)  # less than the pipe holds: the write never blocks
            publish.look()
        os.close(write)
        assert publish.wait() == 0
    assert publish.out.endswith("\x1b[1F\x1b[Jroomcast: " + publish.out.rsplit("roomcast: ")[1])


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
def test_a_mistake_is_reported_in_one_sentence(
    server: Running, arguments: list[str], status: int, words: str
) -> None:
    done = run("publish", *arguments, url=server.url)
    assert done.returncode == status, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not server.get("/rooms").json()["rooms"]
