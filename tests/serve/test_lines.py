"""Log lines on their way to standard error, of real servers and of a process that only logs."""

from __future__ import annotations

import fcntl
import json
import os
import re
import select
import subprocess
import sys
import termios
from array import array
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import Serve
from tests.raw import Raw, request
from tests.running import PATIENCE, wait_for

DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
_SET_UP = """
import logging, sys
from roomcast.http import access
from roomcast.serve.lines import log_to_stderr, say
log_to_stderr(*{arguments!r})
"""


@contextmanager
def process(code: str, *arguments: object, stderr: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """Python runs `code` after `log_to_stderr(*arguments)`."""
    program = _SET_UP.format(arguments=arguments) + code
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, text=True
    ) as running:
        try:
            yield running
        finally:
            running.kill()


def said(code: str, *arguments: object) -> list[str]:
    with process(code, *arguments) as running:
        return running.communicate(timeout=PATIENCE)[1].splitlines()


_ALL_LEVELS = """
access.log_request("c", "GET", b"/", 200, 0.0)
for name in ("debug", "info", "warning", "error"):
    getattr(logging.getLogger("roomcast.server"), name)("this is %s", name)
    getattr(logging.getLogger("somebody.else"), name)("theirs is %s", name)
"""


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [
        ("debug", ["debug", "info", "warning", "error"], ["warning", "error"]),
        ("info", ["info", "warning", "error"], ["warning", "error"]),
        ("warning", ["warning", "error"], ["warning", "error"]),
        ("error", ["error"], ["error"]),
    ],
)
def test_lines_below_the_level_are_not_written(level: str, ours: list[str], theirs: list[str]) -> None:
    lines = "\n".join(said(_ALL_LEVELS, "text", True, level))
    assert re.findall("this is (.*)", lines) == ours
    assert re.findall("theirs is (.*)", lines) == theirs
    assert ("GET / 200" in lines) == (level in ("debug", "info"))


def test_every_line_has_a_date_and_all_are_there_when_the_process_ends() -> None:
    lines = "\n".join(
        said("for n in range(3000): access.log_request('c', 'GET', b'/%d' % n, 200, 0.0)", "text", True)
    )
    assert re.findall(rf"^{DATE} c GET /(\d+) 200 0\.0 ms$", lines, re.MULTILINE) == [*map(str, range(3000))]


_NOBODY_CAUGHT = """
import threading, warnings
secret = "?ticket=hidden\\u202e\\n2026-01-01 forged"
warnings.warn(secret)
thread = threading.Thread(target=lambda: open(secret))
thread.start()
thread.join()
class Ungrateful:
    def __del__(self): raise ValueError(secret)
Ungrateful()
raise KeyError(secret)
"""


@pytest.mark.parametrize("format", ["text", "json"])
def test_an_uncaught_error_is_a_line_like_any_other(format: str) -> None:
    lines = said(_NOBODY_CAUGHT, format, False)
    together = "\n".join(lines)
    assert all(word in together for word in ("UserWarning", "FileNotFoundError", "ValueError", "KeyError"))
    assert "ticket=hidden" not in together
    assert all(line.isprintable() and not line.startswith("2026-01-01") for line in lines)
    if format == "json":
        assert all(json.loads(line) for line in lines)


_MORE_THAN_FITS = """
for n in range(30_000): access.log_request("c", "GET", b"/%d" % n, 200, 0.0)
print("done", flush=True)
sys.stdin.readline()
"""


def test_a_stuck_terminal_holds_nobody_up_and_the_number_of_dropped_lines_is_written_later() -> None:
    read, write = os.pipe()
    with process(_MORE_THAN_FITS, "text", True, stderr=write) as running, os.fdopen(read) as terminal:
        os.close(write)
        assert running.stdout
        assert running.stdout.readline() == "done\n", "the lines are waited for"
        assert running.stdin
        running.stdin.close()
        lines = terminal.read().splitlines()
    kept = [line for line in lines if " GET " in line]
    told = [int(n) for n in re.findall(r"warning: (\d+) lines are missing here", "\n".join(lines))]
    assert told
    assert len(kept) + sum(told) == 30_000
    assert 10_000 <= len(kept) < 25_000


_MANY = "for n in range(8000): access.log_request('c' * 60, 'GET', b'/%d' % n, 200, 0.0)"


def full(pipe: int) -> bool:
    """Whether a pipe is full, but for a line or so."""
    size = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, size)
    return size[0] > fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) - 2 * select.PIPE_BUF


def test_lines_of_two_processes_on_one_pipe_do_not_mix() -> None:
    read, write = os.pipe()
    one, other = process(_MANY, "text", True, stderr=write), process(_MANY, "text", True, stderr=write)
    with one, other, os.fdopen(read) as pipe:
        os.close(write)
        wait_for(lambda: full(read), "both to wait in the middle of what they write")
        lines = pipe.read().splitlines()
    whole = re.compile(rf"{DATE} c{{60}} GET /\d+ 200 0\.0 ms")
    assert [line for line in lines if not whole.fullmatch(line)] == []
    assert len(lines) == 16_000


def test_a_pipe_that_is_not_blocking_gets_every_line() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with process(_MANY, "text", True, stderr=write), os.fdopen(read) as pipe:
        os.close(write)
        wait_for(lambda: full(read), "a write that is refused")
        assert len(pipe.read().splitlines()) == 8000


SECRETS = "ticket=hidden&%74oken=hidden&Access_Token=hidden&authorization=hidden&auth=hidden&jwt=hidden&key=hidden"


@pytest.mark.parametrize("format", ["text", "json"])
def test_no_line_and_no_answer_of_a_server_shows_a_secret(serve: Serve, format: str) -> None:
    server = serve("--log=memory:", f"--log-format={format}")
    fields = ("Authorization: Bearer hidden", "Cookie: session=hidden")
    targets = [
        f"/messages?room=a&{SECRETS}",
        f"/messages?{SECRETS}",
        f"/messages?rooom=a&{SECRETS}",
        f"/messages?room=a&limit=x&{SECRETS}",
        f"/healthz?password=hidden&SECRET=hidden&{SECRETS}",
        f"/nowhere?{SECRETS}",
    ]
    answers = b""
    for target in targets:
        for accept in ("text/event-stream", "application/json", "image/png"):
            data = request("GET", target, f"Accept: {accept}", "Connection: close", *fields)
            with Raw(server.port, data) as connection:
                answers += connection.until(b"\r\n\r\n") + (b"" if "room=a&t" in target else connection.rest())
    server.post([{"text": "x", "room": "a"}] * 3)
    page = server.get(f"/messages?room=a&limit=1&{SECRETS}", headers={"Accept": "application/json"})
    assert 'rel="next"' in page.headers["link"]
    server.get("/healthz?last")
    server.wait_until_it_says(r"/healthz\?last")
    assert b"hidden" not in answers
    assert "hidden" not in str(page.headers) + page.text
    assert "hidden" not in server.said()
    assert server.said().count("/nowhere?%74oken=…") >= 3


@pytest.mark.parametrize("format", ["text", "json"])
def test_the_line_about_a_stream_is_escaped(serve: Serve, format: str) -> None:
    server = serve("--log=memory:", f"--log-format={format}")
    room = "a%E2%80%AEb%E2%80%A8c%D8%9Cd"
    with Raw(server.port, request("GET", f"/messages?room={room}", "Accept: text/event-stream")) as follower:
        assert follower.answer(to_head=True).status == 200
    server.wait_until_it_says("ended: client")
    wait_for(lambda: server.said().endswith("\n"), "a whole line")
    assert all(line.isprintable() for line in server.said().splitlines())
    assert "\\u202e" in server.said()
