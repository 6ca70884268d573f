"""`roomcast tail`: its output, restarts of the server, and its end."""

from __future__ import annotations

import json
import re
import signal
import subprocess

import pytest

from tests.cli.shell import ROOMCAST, TO_THE_END, Program, environment, run
from tests.conftest import Serve
from tests.running import Running, wait_for


def test_in_a_pipe_each_message_is_its_json(server: Running) -> None:
    stored = [
        server.publish("grüße"),
        server.publish("paid", type="order.paid", data={"order": 7}),
        server.publish("x", room="other"),
    ]
    done = run("tail", "developers", "other", "--count=3", url=server.url)
    assert [json.loads(line) for line in done.stdout.splitlines()] == stored
    assert (done.returncode, done.stderr) == (0, "")


def test_it_begins_with_the_newest_ten_and_goes_on_live(server: Running) -> None:
    server.post([{"room": "developers", "text": str(n)} for n in range(15)])
    with Program("tail", "developers", url=server.url) as tail:
        tail.until('"text":"14"')
        server.publish("live")
        tail.until('"text":"live"')
        assert [json.loads(line)["text"] for line in tail.out.splitlines()] == [*map(str, range(5, 15)), "live"]


@pytest.mark.parametrize(
    ("options", "first"), [(["--replay=all"], "0"), (["--replay=2"], "3"), (["--since=10m"], "0")]
)
def test_the_beginning_can_be_chosen(server: Running, options: list[str], first: str) -> None:
    server.post([{"room": "developers", "text": str(n)} for n in range(5)])
    done = run("tail", "developers", "--count=1", *options, url=server.url)
    assert json.loads(done.stdout)["text"] == first


def test_replay_none_prints_only_new_messages(server: Running) -> None:
    server.publish("old")
    with Program("tail", "developers", "--replay=none", "--count=1", url=server.url) as tail:
        wait_for(lambda: server.metric("roomcast_followers"), "the follower")
        server.publish("new")
        assert tail.wait() == 0
        assert json.loads(tail.out)["text"] == "new"


def test_a_terminal_shows_a_line_a_message_in_colours_and_local_time(server: Running) -> None:
    stored = server.publish("hello", user="anna", type="order.paid", data={"order": 7})
    server.post({"room": "developers", "data": None})
    with Program("tail", "developers", "--count=2", url=server.url, terminal=True, TZ="Etc/GMT-14") as tail:
        assert tail.wait() == 0
    first, second = tail.out.splitlines()
    assert "\x1b[" in first
    time, rest = plain(first).split(" developers ")
    assert rest == 'anna: [order.paid] hello {"order": 7}'
    hour = (int(str(stored["timestamp"])[11:13]) + 14) % 24
    assert re.search(rf"\b{hour:02}:\d\d:\d\d$", time)
    assert plain(second).endswith(" developers anonymous: null")


def test_there_are_no_colours_with_no_color_or_a_dumb_terminal(server: Running) -> None:
    server.publish("hello")
    with Program("tail", "developers", "--count=1", url=server.url, terminal=True, NO_COLOR="1") as tail:
        assert tail.wait() == 0
    assert "\x1b" not in tail.out


def test_control_characters_of_others_never_reach_the_terminal(server: Running) -> None:
    nasty = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\nfake\u202e\u2066\u2028"
    server.publish(f"a{nasty}b", user="u\u202ex", type="t\u202ex", data={f"k{nasty}": nasty})
    with Program("tail", "developers", "--count=1", url=server.url, terminal=True) as tail:
        assert tail.wait() == 0
    shown = re.sub(r"\x1b\[[0-9;]*m", "", tail.out)
    assert shown.count("\n") == 1
    assert not re.search("[\x00-\x09\x0b-\x0c\x0e-\x1f\x7f-\x9f\u2028\u202e\u2066]", shown)
    assert "\\x1b[2J" in shown
    assert "\\r\\nfake" in shown


def test_a_terminal_without_utf_8_shows_escapes(server: Running) -> None:
    server.publish("grüße \u2603", room="räume")
    with Program(
        "tail",
        "räume",
        "--count=1",
        url=server.url,
        terminal=True,
        PYTHONIOENCODING="latin-1:strict",
        NO_COLOR="1",
    ) as tail:
        # The test decodes the Latin-1 terminal as UTF-8, so it can read ASCII only.
        assert tail.wait() == 0
    assert "\\u2603" in tail.out


def test_a_gap_is_reported_on_stderr_and_in_a_terminal_in_its_place(serve: Serve) -> None:
    server = serve("--max-messages=5")
    for _ in range(8):
        server.post([{"room": "developers", "text": "x"}] * 4)
    since = "--since=2026-01-01T00:00:00Z"
    with Program("tail", "developers", since, "--count=1", url=server.url) as tail:
        assert tail.wait() == 0
    assert len(tail.out.splitlines()) == 1
    assert re.fullmatch(r"roomcast: gap: .* messages of developers may be lost: no longer retained\n", tail.err)
    with Program("tail", "developers", since, "--count=1", url=server.url, terminal=True) as tail:
        assert tail.wait() == 0
    assert re.match(r"--- gap: .* developers .* ---\r\n", plain(tail.out))
    assert run("tail", "developers", since, "--exit-on-gap", url=server.url).returncode == 3


def test_it_survives_a_restart_and_reports_it_only_in_a_terminal(serve: Serve) -> None:
    server = serve()
    server.publish("before")
    with (
        Program("tail", "developers", "--count=2", url=server.url) as piped,
        Program("tail", "developers", "--count=2", url=server.url, terminal=True) as shown,
    ):
        piped.until("before")
        shown.until("before")
        server.kill()
        shown.until(r"roomcast: .*; next attempt in \d+\.\d s")
        serve(f"--port={server.port}").publish("after")
        assert (piped.wait(), shown.wait()) == (0, 0)
    assert [json.loads(line)["text"] for line in piped.out.splitlines()] == ["before", "after"]
    assert piped.err == ""
    assert "roomcast: connected again" in shown.out


def test_it_reports_an_absent_server_and_waits_for_it() -> None:
    with Program("tail", "developers", url="http://127.0.0.1:9") as tail:
        tail.until(r"roomcast: .*refused.*; next attempt", "err")
        assert tail.process.poll() is None


@pytest.mark.parametrize("terminal", [False, True])
def test_ctrl_c_ends_it_quietly_with_status_130(server: Running, terminal: bool) -> None:
    server.publish("hello")
    with Program("tail", "developers", url=server.url, terminal=terminal) as tail:
        tail.until("hello")
        said = tail.out
        tail.process.send_signal(signal.SIGINT)
        assert tail.wait() == 130
        assert (tail.out, tail.err) == (said, "")


def test_a_closed_pipe_ends_it_quietly_without_a_further_message(server: Running) -> None:
    server.publish("hello")
    with Program("tail", "developers", url=server.url) as tail:
        tail.until("hello")
        tail.close_output()
        assert tail.wait() == 128 + signal.SIGPIPE
        assert tail.err == ""


@pytest.mark.parametrize(("closed", "status"), [(">&-", 0), ("2>&-", 0), (">/dev/full", 1)])
def test_a_closed_or_full_output_causes_no_traceback(server: Running, closed: str, status: int) -> None:
    server.publish("hello")
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *ROOMCAST, "tail", "developers", "--count=1"],
        env=environment(ROOMCAST_URL=server.url),
        capture_output=True,
        text=True,
        check=False,
        timeout=TO_THE_END,
    )
    assert done.returncode == status
    assert (done.stderr == "") == (status == 0)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "ROOM"),
        (["developers", "--since=1m", "--replay=all"], 2, "--since and --replay"),
        (["developers", "--replay=some"], 1, "roomcast: replay must be all, none"),
        (
            ["developers", "--since=yesterday"],
            1,
            "time such as 2026-11-22T06:27:00Z, or a duration",
        ),
        (["developers", "--header=nonsense"], 2, "NAME:VALUE"),
        (["developers", "--url=localhost:8080"], 2, "http://localhost:8080"),
        (["developers", "--url=http://a..b"], 2, "http://localhost:8080"),
        (["developers", "--count=0"], 2, "--count"),
        (["$developers"], 1, "roomcast: room "),
    ],
)
def test_a_mistake_is_reported_in_one_sentence(
    server: Running, arguments: list[str], status: int, words: str
) -> None:
    done = run("tail", *arguments, url=server.url)
    assert done.returncode == status
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    if status == 1:
        assert done.stderr.count("\n") == 1


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_rooms_are_followed_by_prefix(server: Running) -> None:
    for room in ("team/7/a", "team/8", "kitchen", "team/7/b"):
        server.publish(room, room=room)
    done = run("tail", "kitchen", "--prefix=team/7/", "--count=3", url=server.url)
    assert [json.loads(line)["room"] for line in done.stdout.splitlines()] == ["team/7/a", "kitchen", "team/7/b"]
    done = run("tail", "--prefix=", "--count=4", url=server.url)
    assert (len(done.stdout.splitlines()), done.returncode) == (4, 0)
    done = run("tail", url=server.url)
    assert (done.returncode, "--prefix" in done.stderr) == (2, True)
