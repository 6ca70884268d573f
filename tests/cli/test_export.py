"""`roomcast rooms`, `export` and `import`, also after an interruption."""

from __future__ import annotations

import fcntl
import json
import re
from pathlib import Path

import pytest

from tests.cli.shell import Program, run
from tests.cli.test_publish import history
from tests.conftest import Serve
from tests.running import Running, wait_for

VARIED = [
    {"room": "developers", "text": "grüße", "user": "anna"},
    {"room": "other", "data": None},
    {"room": "developers", "text": "x", "type": "a.b", "data": {"n": [1.5, "\u2028"]}},
]


def test_rooms_are_a_table_in_a_terminal_and_lines_in_a_pipe(server: Running) -> None:
    server.post(VARIED)
    rows = [json.loads(line) for line in run("rooms", url=server.url).stdout.splitlines()]
    assert rows == server.get("/rooms").json()["rooms"]
    with Program("rooms", url=server.url, terminal=True) as rooms:
        assert rooms.wait() == 0
    table = re.sub(r"\x1b\[[0-9;]*m", "", rooms.out).split("\r\n")
    assert re.fullmatch(r"room +messages +followers +newest", table[0])
    assert re.fullmatch(r"developers +2 +0 +\d\d:\d\d:\d\d", table[1])
    assert len({len(line) for line in table[:3]}) == 1


@pytest.mark.parametrize("room", ["日本語の部屋", "e\u0301tage", "x" * 40])
def test_the_columns_of_rooms_are_aligned_for_names_of_all_scripts(server: Running, room: str) -> None:
    server.post([{"room": room, "text": "x"}, {"room": "developers", "text": "x"}])
    with Program("rooms", url=server.url, terminal=True, NO_COLOR="1") as rooms:
        assert rooms.wait() == 0
    assert len({_columns(line) for line in rooms.out.splitlines()}) == 1, rooms.out


def _columns(line: str) -> int:
    """The columns of these lines: two for a Japanese character, none for a combining accent."""
    return len(line) + len(re.findall("[\u3040-\u9fff]", line)) - line.count("\u0301")


def test_an_export_has_all_retained_messages(server: Running) -> None:
    for _ in range(3):
        server.post([{"room": "developers", "text": "x"}] * 800)
    done = run("export", "developers", url=server.url)
    ids = [json.loads(line)["id"] for line in done.stdout.splitlines()]
    assert [int(id.split("-")[1]) for id in ids] == [*range(1, 2401)]
    assert (done.returncode, done.stderr) == (0, "")


def test_an_export_continues_after_the_last_whole_line(server: Running, tmp_path: Path) -> None:
    file = tmp_path / "rooms.ndjson"
    export = ("export", "developers", "other", f"--output={file}")
    server.post(VARIED)
    assert run(*export, url=server.url).returncode == 0
    whole = file.read_bytes()
    for cut in (1, 20, len(whole.splitlines()[-1]) + 2, len(whole) - 3, len(whole)):
        file.write_bytes(whole[:-cut])
        assert run(*export, url=server.url).returncode == 0
        assert file.read_bytes() == whole
    stored = server.publish("more")
    assert run(*export, url=server.url).returncode == 0
    assert file.read_bytes()[: len(whole)] == whole
    assert json.loads(file.read_bytes()[len(whole) :]) == stored


def test_an_export_continues_after_a_message_of_megabytes(serve: Serve, tmp_path: Path) -> None:
    server = serve("--max-message=2MB", "--max-body=4MB")
    file = tmp_path / "rooms.ndjson"
    export = ("export", "developers", f"--output={file}")
    server.publish("small")
    server.publish("x" * 1_500_000)
    assert run(*export, url=server.url).returncode == 0
    whole = file.read_bytes()
    for cut in (0, 1, 20, 1_400_000):
        file.write_bytes(whole[: len(whole) - cut])
        done = run(*export, url=server.url)
        assert (done.returncode, done.stderr) == (0, "")
        assert file.read_bytes() == whole


@pytest.mark.parametrize(
    "content", ["my diary", "one\ntwo\n", '{"a": 1}\n', "\n\n", '{"id": 1, "room": "developers"}\n']
)
def test_a_file_that_is_not_an_export_is_not_changed(server: Running, tmp_path: Path, content: str) -> None:
    server.post(VARIED)
    file = tmp_path / "diary.txt"
    file.write_text(content)
    done = run("export", "developers", f"--output={file}", url=server.url)
    assert done.returncode == 1
    assert done.stderr.startswith(f"roomcast: {file} is not an export")
    assert file.read_text() == content


def test_an_export_of_other_rooms_is_not_continued(server: Running, tmp_path: Path) -> None:
    server.post(VARIED)
    file = tmp_path / "x.ndjson"
    run("export", "other", f"--output={file}", url=server.url)
    before = file.read_bytes()
    assert "other" in run("export", "developers", f"--output={file}", url=server.url).stderr
    assert file.read_bytes() == before


@pytest.mark.parametrize("device", ["/dev/null", "/dev/full"])
def test_an_export_needs_a_regular_file(server: Running, device: str) -> None:
    done = run("export", "developers", f"--output={device}", url=server.url)
    assert (done.returncode, done.stderr.startswith(f"roomcast: {device} is not a regular file")) == (1, True)


def test_two_exports_do_not_write_one_file(server: Running, tmp_path: Path) -> None:
    with (tmp_path / "x.ndjson").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = run("export", "developers", f"--output={file.name}", url=server.url)
    assert (done.returncode, "another export" in done.stderr) == (1, True)


def test_an_export_reports_a_gap(serve: Serve, tmp_path: Path) -> None:
    server = serve("--max-messages=5")
    file = tmp_path / "x.ndjson"
    server.publish("first")
    run("export", "developers", f"--output={file}", url=server.url)
    for _ in range(8):
        server.post([{"room": "developers", "text": "x"}] * 4)
    done = run("export", "developers", f"--output={file}", url=server.url)
    assert done.returncode == 0
    assert re.match(r"roomcast: gap: at most \d+ messages of developers after \S+-1 may be lost", done.stderr)
    assert len(file.read_text().splitlines()) > 5


@pytest.mark.parametrize(
    ("room", "words"),
    [
        ("nosuch", "there is no room nosuch: list the rooms with roomcast rooms"),
        ("develop", "there is no room develop: did you mean developers?"),
        ("*", "there is no room *: --all exports every room"),
    ],
)
def test_a_room_that_does_not_exist_is_an_error_and_the_others_are_written(
    server: Running, room: str, words: str
) -> None:
    server.post(VARIED)
    alone = run("export", room, url=server.url)
    assert (alone.returncode, alone.stdout, alone.stderr) == (1, "", f"roomcast: {words}\n")
    with_another = run("export", room, "other", url=server.url)
    assert (with_another.returncode, with_another.stderr) == (1, f"roomcast: {words}\n")
    assert len(with_another.stdout.splitlines()) == 1


def test_a_room_of_the_file_that_was_trimmed_to_nothing_is_no_error(serve: Serve, tmp_path: Path) -> None:
    server = serve("--max-messages=1")
    file = tmp_path / "x.ndjson"
    server.publish("x")
    run("export", "developers", f"--output={file}", url=server.url)
    for _ in range(8):
        server.post([{"room": "busy", "text": "x"}])
    wait_for(lambda: "developers" not in server.get("/rooms").text, "the room's end")
    assert run("export", "developers", f"--output={file}", url=server.url).returncode == 0


def test_all_rooms_are_exported_in_the_order_of_the_log_and_continued(server: Running, tmp_path: Path) -> None:
    """There are more rooms, with longer names, than one request can name."""
    rooms = [f"raum {n} {'入' * (n % 50)}" for n in range(150)]
    for batch in range(3):
        server.post([{"room": room, "text": str(batch)} for room in rooms])
    file = tmp_path / "all.ndjson"
    export = ("export", "--all", f"--output={file}")
    done = run(*export, url=server.url)
    assert (done.returncode, done.stderr) == (0, "")
    server.post([{"room": "new", "text": "x"}, {"room": rooms[-1], "text": "x"}])
    assert run(*export, url=server.url).returncode == 0
    ids = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    assert [int(id.split("-")[1]) for id in ids] == [*range(1, 453)]


def test_rooms_are_exported_by_prefix_also_those_that_come_later(server: Running, tmp_path: Path) -> None:
    server.post([{"room": room, "text": "x"} for room in ("team/7/a", "other", "team/8/a", "team/7/b")])
    file = tmp_path / "x.ndjson"
    export = ("export", "other", "team/7/a", "--prefix=team/7/", f"--output={file}")
    assert run(*export, url=server.url).returncode == 0
    server.post([{"room": room, "text": "x"} for room in ("team/7/c", "team/8/a", "team/7/a")])
    done = run(*export, url=server.url)
    assert (done.returncode, done.stderr) == (0, "")
    rooms = [json.loads(line)["room"] for line in file.read_text().splitlines()]
    assert rooms == ["team/7/a", "other", "team/7/b", "team/7/c", "team/7/a"]
    others = run("export", "--prefix=team/8/", f"--output={file}", url=server.url)
    assert (others.returncode, "ends with a message of team/7/a" in others.stderr) == (1, True)
    nothing = run("export", "--prefix=team/9/", "--prefix=o", url=server.url)
    assert (nothing.returncode, len(nothing.stdout.splitlines())) == (1, 1)
    assert nothing.stderr.startswith("roomcast: there is no room whose name begins with team/9/: list the rooms")


@pytest.mark.parametrize("arguments", [[], ["developers", "--all"], ["--prefix=a", "--all"]])
def test_an_export_needs_rooms_or_all(arguments: list[str]) -> None:
    done = run("export", *arguments)
    assert (done.returncode, "or give a --prefix of their names, or --all" in done.stderr) == (2, True)


def test_the_export_of_an_empty_server_is_empty(server: Running) -> None:
    done = run("export", "--all", url=server.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_an_import_restores_an_export(serve: Serve, server: Running, tmp_path: Path) -> None:
    server.post(VARIED)
    file = tmp_path / "x.ndjson"
    run("export", "developers", "other", f"--output={file}", url=server.url)
    target = serve("--log=memory:")
    done = run("import", str(file), url=target.url)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "roomcast: 3 messages are stored\n")
    again = run("export", "developers", "other", url=target.url).stdout
    assert [_plain(line) for line in again.splitlines()] == [
        _plain(line) for line in file.read_text().splitlines()
    ]
    assert len(again.splitlines()) == 3


def _plain(line: str) -> object:
    return {name: value for name, value in json.loads(line).items() if name not in ("id", "timestamp")}


def test_an_import_that_was_interrupted_stores_nothing_twice_when_it_runs_again(
    server: Running, tmp_path: Path
) -> None:
    """The file has equal parts, which must all be stored. A refused line is the interruption."""
    lines = ['{"room":"developers","text":"same"}\n'] * 1700
    file = tmp_path / "x.ndjson"
    file.write_text("".join([*lines[:1200], '{"room":"developers"}\n', *lines[1201:]]))
    done = run("import", str(file), url=server.url)
    assert done.returncode == 1
    assert done.stderr == (
        "roomcast: line 1201 is refused: text is missing: a message has text, data, or both; "
        "1,000 messages are stored\n"
    )
    file.write_text("".join(lines))
    for said in ("700 messages are stored, 1,000 were", "0 messages are stored, 1,700 were"):
        done = run("import", str(file), url=server.url)
        assert (done.returncode, done.stderr) == (0, f"roomcast: {said} stored before\n")
        assert server.get("/rooms").json()["rooms"][0]["messages"] == 1700


def test_an_import_of_a_file_that_is_not_an_export_is_refused_in_one_sentence(
    server: Running, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("no json\n")
    done = run("import", str(tmp_path / "x"), url=server.url)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("roomcast: line 1 is not JSON")
    assert run("import", str(tmp_path / "none"), url=server.url).returncode == 2


def test_a_missing_server_is_reported_in_one_sentence() -> None:
    done = run("rooms", url="http://127.0.0.1:9")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("roomcast: http://127.0.0.1:9/rooms cannot be reached: ")
    assert done.stderr.endswith(": start the server, or name another one with --url or ROOMCAST_URL\n")


def test_an_answer_of_another_server_is_reported_in_one_sentence(server: Running) -> None:
    done = run("rooms", f"--url={server.url}/elsewhere")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "roomcast: " in done.stderr
    assert history(server) == []
