"""`/roomcast.js` against a faulty or hostile server: it reads a bounded amount, and waits between tries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.browser.node import node
from tests.browser.steps import eventually
from tests.browser.test_module import Tab
from tests.running import PATIENCE, Running

MIB = 2**20
FOREIGN = "something other than roomcast answered"
EMPTY_PAGE: dict[str, object] = {"messages": [], "position": "abcd-0", "gap": None}

Act = Callable[["_Scripted"], None]


class Faulty(ThreadingHTTPServer):
    """A server that answers as the test says. It records when streams were requested, and how much was read of
    them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Scripted)
        self.stream: Act = lambda answer: answer.send(200, b"")
        self.page: Act = lambda answer: answer.send(200, json.dumps(EMPTY_PAGE).encode(), "application/json")
        self.asked_at: list[float] = []
        self.taken = 0
        self.refused = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Scripted(BaseHTTPRequestHandler):
    server: Faulty

    def do_GET(self) -> None:
        if "event-stream" not in self.headers["Accept"]:
            return self.server.page(self)
        self.server.asked_at.append(time.monotonic())
        return self.server.stream(self)

    def do_POST(self) -> None:
        self.server.page(self)

    def do_OPTIONS(self) -> None:
        self.begin(204, Access_Control_Allow_Headers="*")

    def begin(self, status: int, kind: str = "text/event-stream", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Expose-Headers", "Retry-After")
        self.send_header("Content-Type", kind)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, status: int, body: bytes, kind: str = "text/event-stream", **headers: str) -> None:
        self.begin(status, kind, **headers)
        self.wfile.write(body)

    def send_without_end(self, piece: bytes, kind: str = "text/event-stream", status: int = 200) -> None:
        """Sends `piece` again and again until the client hangs up."""
        self.begin(status, kind)
        try:
            while self.server.taken < 512 * MIB:
                self.wfile.write(piece)
                self.server.taken += len(piece)
        except OSError:
            self.server.refused = True

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    with Faulty() as server:
        thread = Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(PATIENCE)


@pytest.fixture
def somewhere(page: Page, elsewhere: str) -> Page:
    page.goto(elsewhere)
    return page


ENDLESS = {
    "a line": b"x" * 65536,
    "a field": b"data:" + b"x" * 65531,
    "a block": b"data: " + b"x" * 65529 + b"\n",
    "a block of empty lines": b"data\n" * 13_000,
    "an id": b"id: " + b"1" * 65532,
}


@pytest.mark.parametrize("piece", ["a line", "a block"])
def test_a_stream_without_an_end_of_its_block_is_given_up(
    somewhere: Page, server: Running, faulty: Faulty, piece: str
) -> None:
    faulty.stream = lambda answer: answer.send_without_end(ENDLESS[piece])
    tab = Tab(somewhere, server, server=faulty.url)
    tab.until("following.state.until")
    assert tab.state["why"] == FOREIGN
    eventually(somewhere, lambda: faulty.refused, "the module to hang up")
    assert faulty.taken < 256 * MIB  # of 512 offered: Firefox reads far ahead of its scripts


def test_the_decoder_keeps_at_most_16_million_characters_of_a_block(tmp_path: Path) -> None:
    script = f"""
        const taken = [];
        for (const piece of {json.dumps([piece.decode() for piece in ENDLESS.values()])}) {{
          const decoder = new roomcast.Decoder();
          const bytes = new TextEncoder().encode(piece);
          let most = 0;
          try {{
            for (; most < 2 ** 26; most += bytes.length) decoder.push(bytes);
          }} catch ({{ message }}) {{
            taken.push([message, most <= 2 ** 24]);
          }}
        }}
        console.log(JSON.stringify(taken));
    """
    assert node(script, tmp_path) == [[FOREIGN, True]] * len(ENDLESS)


def test_a_page_without_end_is_given_up(somewhere: Page, server: Running, faulty: Faulty) -> None:
    faulty.page = lambda answer: answer.send_without_end(b" " * 65536, "application/json")
    tab = Tab(somewhere, server, server=faulty.url)
    tab.until("following.state.until")
    assert tab.state["why"] == FOREIGN
    eventually(somewhere, lambda: faulty.refused, "the module to hang up")
    assert faulty.taken < 128 * MIB


_ONCE = pytest.mark.only_in("chromium", because="the answer is read in the same way, whatever its status")


@pytest.mark.parametrize("status", [200, pytest.param(422, marks=_ONCE), pytest.param(500, marks=_ONCE)])
def test_an_answer_to_a_publish_without_end_is_given_up(
    somewhere: Page, server: Running, faulty: Faulty, status: int
) -> None:
    faulty.page = lambda answer: answer.send_without_end(b" " * 65536, "application/json", status)
    told = somewhere.evaluate(
        """async ([module, server]) => {
          const { publish } = await import(module);
          const stop = new AbortController();
          return new Promise((resolve) => publish('{"room": "r", "text": "t"}', {
            server,
            signal: stop.signal,
            onRetry: ({ message }) => (stop.abort(), resolve(message)),
          }).catch(({ message }) => resolve(message)));
        }""",
        [f"{server.url}/roomcast.js", faulty.url],
    )
    assert told == (FOREIGN if status == 200 else f"the server answered {status} {_phrase(status)}")
    eventually(somewhere, lambda: faulty.refused, "the module to hang up")
    assert faulty.taken < 128 * MIB


def test_the_module_waits_between_two_tries(somewhere: Page, server: Running, faulty: Faulty) -> None:
    faulty.stream = lambda answer: answer.send(200, b"retry: 0\n")
    tab = Tab(somewhere, server, server=faulty.url)
    tab.until("following.state.until")
    until = time.monotonic() + 1.3
    eventually(
        somewhere,
        lambda: len(faulty.asked_at) > 3 or time.monotonic() > until,
        "a few tries, or the time for them",
    )
    assert all(later - earlier > 0.4 for earlier, later in pairwise(faulty.asked_at))


def waits(faulty: Faulty, folder: Path) -> list[dict[str, Any]]:
    """The first two states in which a follow in Node waits; fewer if it stops before, and then its last state.
    `wait` is the time from its last request to its next try, and `left` the rest of it, both in ms."""
    script = f"""
        const waits = [];
        const send = globalThis.fetch;
        let asked = 0;
        globalThis.fetch = (...request) => {{
          asked = Date.now();
          return send(...request);
        }};
        const following = roomcast.follow({{
          server: {json.dumps(faulty.url)},
          rooms: "developers",
          onState(state) {{
            if (!state.until && state.name !== "stopped") return;
            waits.push({{ ...state, wait: state.until - asked, left: state.until - Date.now() }});
            if (waits.length < 2 && state.until) return void setTimeout(() => following.retry());
            following.close();
            console.log(JSON.stringify(waits));
          }},
        }});
    """
    found: list[dict[str, Any]] = node(script, folder)
    return found


@pytest.mark.parametrize(
    "act",
    [
        lambda answer: answer.send(200, b"retry: 0\n"),
        lambda answer: answer.send(200, b"retry: 0\nid: abcd-1\ndata: 1\n\n"),
        lambda answer: answer.send(200, b"retry: 99999999999\n"),
        lambda answer: answer.send(503, b"{}", Retry_After="-5"),
        lambda answer: answer.send(503, b"{}", Retry_After="99999999999"),
        lambda answer: answer.send(200, b"retry: 0\nid: abcd-0\ndata: {\n\n"),
    ],
    ids=["retry: 0", "0 after a block", "too much for a timer", "Retry-After below 0", "and too much", "no JSON"],
)
def test_whatever_delay_a_server_asks_for_is_kept_within_bounds(faulty: Faulty, tmp_path: Path, act: Act) -> None:
    faulty.stream = act
    for state in waits(faulty, tmp_path):
        assert state["wait"] > 400
        assert state["left"] <= 600_000
    assert len(faulty.asked_at) == 2


@pytest.mark.parametrize("body", ["null", "{}", '{"messages": {}, "position": 1}', "[]", "<h1>Sign in</h1>"])
def test_an_answer_that_is_no_page_is_reported_and_requested_again(
    faulty: Faulty, tmp_path: Path, body: str
) -> None:
    page, bodies = faulty.page, [body]

    def once(answer: _Scripted) -> None:
        if bodies:
            return answer.send(200, bodies.pop().encode(), "application/json")
        return page(answer)

    faulty.page = once
    assert waits(faulty, tmp_path)[0]["why"] == FOREIGN
    assert faulty.asked_at  # the stream, after a page


def test_pages_that_never_get_further_are_not_read_for_ever(faulty: Faulty, tmp_path: Path) -> None:
    message = {"id": "abcd-1", "room": "developers", "user": "a", "text": "t", "timestamp": "2026-01-01T00:00:00Z"}
    full = json.dumps({**EMPTY_PAGE, "messages": [message] * 1000}).encode()
    faulty.page = lambda answer: answer.send(200, full, "application/json")
    assert waits(faulty, tmp_path)[0]["why"] == FOREIGN


def test_a_refusal_that_is_no_object_is_reported_as_its_status(faulty: Faulty, tmp_path: Path) -> None:
    faulty.page = lambda answer: answer.send(422, b"null", "application/problem+json")
    [stopped] = waits(faulty, tmp_path)
    assert stopped["name"] == "stopped"
    assert stopped["why"].startswith("the server answered 422")


def _phrase(status: int) -> str:
    return BaseHTTPRequestHandler.responses[status][0]
