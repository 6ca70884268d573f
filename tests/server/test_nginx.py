"""Behind nginx, with the lines that docs/nginx.md gives."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.certificate import Certificate
from tests.conftest import Serve, require
from tests.observer import Observer
from tests.proxies import Proxy, lines, run_nginx, swap
from tests.running import PATIENCE, Running, free_port, wait_for

LINES, TLS, LOGIN, LOGIN_CHECK, LIMITS, LIMITED = lines("nginx.md", "nginx")
LAST_OF_LOCATION = "        error_page 500 502 503 504 = $away;\n    }\n"
STREAM = {"accept": "text/event-stream"}
ROWS = {"accept": "application/x-ndjson"}
FOLLOW = "/messages?room=developers"


class Front:
    """Starts nginx in front of a port of roomcast's, with the lines of the docs but for ports and files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Proxy] = []

    def __call__(self, behind: int, *, http_1_0: bool = False, tls: bool = False, text: str = LINES) -> Proxy:
        port = free_port()
        if behind:
            text = swap(text, {"127.0.0.1:8080": f"127.0.0.1:{behind}"})
        if http_1_0:
            text = re.sub("proxy_http_version .*;|proxy_set_header Connection .*;|keepalive .*;", "", text)
        if tls:
            text = swap(text, {"    listen 80;\n": self._with_certificate(TLS)})
        text, count = re.subn(r"^ +listen (80|443)", f"listen 127.0.0.1:{port}", text, flags=re.MULTILINE)
        assert count == 1
        self._started.append(run_nginx(self._folder, port, text))
        return self._started[-1]

    def _with_certificate(self, lines: str) -> str:
        certificate = Certificate(self._folder)
        lines = re.sub(r"(ssl_certificate) .*;", rf"\1 {certificate.cert};", lines)
        return re.sub(r"(ssl_certificate_key) .*;", rf"\1 {certificate.key};", lines)

    def accesses(self) -> str:
        return (self._folder / "access.log").read_text()

    def stop(self) -> None:
        for nginx in self._started:
            nginx.stop()


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    front = Front(tmp_path)
    yield front
    front.stop()


def restart(serve: Serve, gone: Running) -> Running:
    """The same server again: its port, its log."""
    assert gone.process.poll() is not None
    return serve("--port", str(gone.port), "--log=sqlite:x.db")


def publish(port: int, *texts: str) -> None:
    for text in texts:
        body = {"room": "developers", "text": text}
        assert httpx.post(f"http://127.0.0.1:{port}/messages", json=body, verify=False).status_code == 201


@pytest.mark.parametrize("http_1_0", [False, True], ids=["1.1", "1.0"])
def test_a_follower_passes_a_restart_with_each_message_once(serve: Serve, front: Front, http_1_0: bool) -> None:
    server = serve("--log=sqlite:x.db", "--heartbeat=0.2")
    nginx = front(server.port, http_1_0=http_1_0)
    publish(nginx.port, "one")
    with Observer(nginx.port, "/messages?room=developers", headers=STREAM) as follower:
        assert follower.status == 200
        assert follower.texts(1) == ["one"]
        assert follower.next().name == "live"
        publish(nginx.port, "two")
        began = time.monotonic()
        assert follower.texts(1) == ["two"]
        follower.wait_for_heartbeats(3)  # none of it is held back in nginx
        assert time.monotonic() - began < 5
        server.terminate()
        assert follower.next_or_end() is None
        assert follower.clean_end
        assert 2_000 <= (follower.retry or 0) <= 10_000

    restart(serve, server)
    publish(nginx.port, "three")
    resumed = {**STREAM, "Last-Event-ID": follower.last_id}
    with Observer(nginx.port, "/messages?room=developers", headers=resumed) as follower:
        assert [event.json["text"] for event in follower.until_live()[:-1]] == ["three"]


def test_a_body_over_the_limit_is_refused_in_roomcasts_own_words(serve: Serve, front: Front) -> None:
    nginx = front(serve().port)
    body = {"room": "developers", "text": "x" * 1_200_000}
    answer = httpx.post(f"http://127.0.0.1:{nginx.port}/messages", json=body)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


class Login(ThreadingHTTPServer):
    """Somebody's program: whoever has the cookie may follow room `developers`."""

    def __init__(self, port: int) -> None:
        self.asked: list[tuple[str | None, str | None]] = []
        super().__init__(("127.0.0.1", port), _Checks)


class _Checks(BaseHTTPRequestHandler):
    server: Login

    def do_GET(self) -> None:
        self.server.asked.append((self.headers["X-Original-Method"], self.headers["X-Original-URI"]))
        known = self.headers["Cookie"] == "user=ana"
        may = known and self.headers["X-Original-URI"] == FOLLOW and self.path == "/may-follow"
        self.send_response(204 if may else 403 if known else 401)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_program_that_knows_who_is_logged_in_decides_who_follows(server: Running, front: Front) -> None:
    text = swap(
        LINES, {LAST_OF_LOCATION: LAST_OF_LOCATION.replace("}\n", LOGIN.lstrip() + "    }\n\n" + LOGIN_CHECK)}
    )
    behind = free_port()
    nginx = front(server.port, text=swap(text, {"127.0.0.1:8000": f"127.0.0.1:{behind}"}))
    known = {**STREAM, "Cookie": "user=ana"}
    with Login(behind) as login:
        thread = threading.Thread(target=login.serve_forever, args=(0.01,))
        thread.start()
        with Observer(nginx.port, FOLLOW, headers=known) as follower:
            assert follower.next().name == "live"
        assert _answer(nginx, FOLLOW, STREAM).status_code == 401
        assert _answer(nginx, "/messages?room=secret", known).status_code == 403
        post = httpx.post(f"http://127.0.0.1:{nginx.port}/messages", json={"room": "r", "text": "t"})
        assert post.status_code == 401
        assert login.asked == [("GET", FOLLOW)] * 2 + [("GET", "/messages?room=secret"), ("POST", "/messages")]
        assert _answer(nginx, "/login-check", known).status_code == 404
        login.shutdown()
        thread.join(PATIENCE)
    away = _answer(nginx, FOLLOW, known)
    assert (away.status_code, away.text[:7]) == (200, "retry: ")
    assert _answer(nginx, "/rooms", {}).status_code == 503


def test_requests_that_nginx_forwards_for_others_are_refused_until_rights_are_configured(
    serve: Serve, front: Front
) -> None:
    outside = {**STREAM, "Host": "live.example.org"}
    refused = _answer(front(serve().port), FOLLOW, outside)
    assert refused.status_code == 403
    assert all(way in refused.json()["detail"] for way in ("--config", "--secret-file", "--open"))
    nginx = front(serve("--open", "--log=memory:").port)
    with httpx.stream("GET", f"http://127.0.0.1:{nginx.port}{FOLLOW}", headers=outside) as stream:
        assert stream.status_code == 200
    from_elsewhere = swap(LINES, {"X-Forwarded-For $remote_addr": "X-Forwarded-For 203.0.113.9"})
    assert _answer(front(serve("--log=memory:").port, text=from_elsewhere), FOLLOW, STREAM).status_code == 403


def test_an_address_that_asks_for_too_much_is_told_to_retry(server: Running, front: Front) -> None:
    limited = swap(LIMITED, {"connections 50;": "connections 2;", "burst=40": "burst=1"})
    text = swap(LIMITS, {"rate=20r/s": "rate=1r/m"}) + swap(
        LINES, {LAST_OF_LOCATION: LAST_OF_LOCATION.replace("    }\n", limited + "    }\n")}
    )
    nginx = front(server.port, text=text)
    with (
        Observer(nginx.port, FOLLOW, headers=STREAM) as first,
        Observer(nginx.port, FOLLOW, headers=ROWS) as second,
    ):
        assert first.next().name == "live"
        assert [second.next_row()["event"] for _ in range(2)] == ["retry", "live"]
        assert _answer(nginx, FOLLOW, STREAM).text[:7] == "retry: "
        assert _answer(nginx, FOLLOW, ROWS).json()["event"] == "retry"  # and no more than that
        assert _answer(nginx, "/rooms", {}).status_code == 503
    wait_for(lambda: _answer(nginx, "/rooms", {}).status_code == 200, "nginx to notice that they have gone")
    assert [_post(nginx) for _ in range(3)] == [(201, None), (201, None), (503, "2")]


def _answer(nginx: Proxy, target: str, headers: dict[str, str]) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{nginx.port}{target}", headers=headers, verify=False)


def _post(nginx: Proxy) -> tuple[int, str | None]:
    answer = httpx.post(f"http://127.0.0.1:{nginx.port}/messages", json={"room": "developers", "text": "t"})
    return answer.status_code, answer.headers.get("retry-after")


@pytest.mark.parametrize(
    ("tls", "http_1_0", "drains"),
    [(False, False, False), (True, False, False), (False, True, True), (True, False, True)],
    ids=["http/1.1, killed", "h2, killed", "http/1.1, drained, over http/1.0 to roomcast", "h2, drained"],
)
def test_a_page_in_chromium_passes_a_restart_without_a_reload(
    serve: Serve, front: Front, tls: bool, http_1_0: bool, drains: bool
) -> None:
    """Both roomcast's own page and a plain EventSource pass it."""
    chromium = require("chromium")
    server = serve("--log=sqlite:x.db", "--heartbeat=1")
    nginx = front(server.port, http_1_0=http_1_0, tls=tls)
    publish(server.port, "one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(ignore_https_errors=True)
        page.goto(f"{'https' if tls else 'http'}://127.0.0.1:{nginx.port}/?room=developers")
        page.evaluate(
            """() => {
                window.heard = [];
                window.source = new EventSource("messages?room=developers");
                source.onmessage = ({ data }) => heard.push(JSON.parse(data).text);
            }"""
        )
        publish(server.port, "two")
        _expect_texts(page, ["one", "two"])
        if drains:
            assert server.terminate() == 0
        else:
            server.process.kill()
            server.process.wait(PATIENCE)
            # The browser's own reconnections, and not only those of roomcast's page, have met nginx alone.
            wait_for(lambda: front.accesses().count("GET /messages?room=developers HTTP") >= 2, "a reconnection")
        wait_for(lambda: page.evaluate("source.readyState") == 0, "the browser to notice")
        again = restart(serve, server)
        publish(again.port, "three")
        _expect_texts(page, ["one", "two", "three"])
        publish(again.port, "four")
        _expect_texts(page, ["one", "two", "three", "four"])
        protocols = set(page.evaluate("performance.getEntriesByType('resource').map(e => e.nextHopProtocol)"))
        assert protocols - {""} == {"h2" if tls else "http/1.1"}
        browser.close()


def _expect_texts(page: Page, texts: list[str]) -> None:
    wait_for(lambda: page.evaluate("heard") == texts, f"the page to hear {texts}")
    expect(page.locator("#messages li.message .text")).to_have_text(texts, timeout=30_000)


def test_over_a_socket_file_the_access_log_names_the_client_whatever_it_claims(
    front: Front, tmp_path: Path
) -> None:
    path = tmp_path / "roomcast.sock"
    options = [
        "--open",
        "--log=memory:",
        "--trusted-proxy=10.0.0.0/8",
    ]  # nginx's client is on loopback here, and no proxy
    server = Running([sys.executable, "-m", "roomcast", "serve", f"--host=unix:{path}", *options], tmp_path)
    try:
        server.wait_until_it_says("^  log ")
        [file] = lines("nginx.md", "text")
        at_file = re.sub("unix:.*?;", f"unix:{path};", file)
        nginx = front(
            0, text=re.sub(r"^ +server 127.0.0.1:8080.*\n", lambda _: at_file, LINES, flags=re.MULTILINE)
        )
        with Observer(nginx.port, "/messages?room=developers&replay=none") as follower:
            assert follower.next().name == "live"
            publish(nginx.port, "one")
            assert follower.texts(1) == ["one"]
        claimed = {"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"}
        assert httpx.get(f"http://127.0.0.1:{nginx.port}/healthz", headers=claimed).status_code == 200
        server.wait_until_it_says(r"^\S+ 127\.0\.0\.1 GET /healthz 200 ")
        assert server.terminate() == 0
        assert not path.exists()
    finally:
        server.end()
