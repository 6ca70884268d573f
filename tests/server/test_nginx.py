"""Behind nginx, with the lines that docs/nginx.md gives."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.conftest import Serve, require
from tests.observer import Observer
from tests.running import PATIENCE, Running, wait_for

DOCS = Path(__file__).parents[2] / "docs/nginx.md"
LINES, TLS = re.findall(r"^```nginx\n(.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
CLIENT, SOCKET_FILE = re.findall(r"^```text\n(.*?)^```$", DOCS.read_text(), re.MULTILINE | re.DOTALL)
"""What goes beside `proxy_http_version`, and in place of the upstream's server."""
CONFIG = """
{user}
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    {lines}
}}
"""
STREAM = {"accept": "text/event-stream"}


class Nginx:
    """nginx as a process, with these lines in its http block."""

    def __init__(self, folder: Path, port: int, lines: str) -> None:
        program = require("nginx")
        self.port = port
        self._folder = folder
        user = "user root;" if os.geteuid() == 0 else ""  # a worker of another user cannot read pytest's folders
        (folder / "nginx.conf").write_text(CONFIG.format(folder=folder, lines=lines, user=user))
        # Not on our own stdout: whoever reads that to its end would wait for what we leave behind.
        self._process = subprocess.Popen(
            [program, "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "e"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._listens, "nginx to listen")

    def _listens(self) -> bool:
        assert self._process.poll() is None, (self._folder / "e").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def accesses(self) -> str:
        return (self._folder / "access.log").read_text()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)


Front = Callable[..., Nginx]


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    """Starts nginx in front of a port of roomcast's, with the lines of the docs but for ports and files."""
    started: list[Nginx] = []

    def start(behind: int = 0, *, http_1_0: bool = False, tls: bool = False, own: str = LINES) -> Nginx:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        lines = own.replace("127.0.0.1:8080", f"127.0.0.1:{behind}")
        if http_1_0:
            lines = re.sub("(proxy_http_version|proxy_set_header) .*;|keepalive .*;", "", lines)
        if tls:
            lines = lines.replace("    listen 80;\n", _with_certificate(TLS, tmp_path))
        lines, count = re.subn(r"^ +listen (80|443)", f"listen 127.0.0.1:{port}", lines, flags=re.MULTILINE)
        assert count == 1
        started.append(Nginx(tmp_path, port, lines))
        return started[-1]

    yield start
    for nginx in started:
        nginx.stop()


def _with_certificate(lines: str, folder: Path) -> str:
    """The lines with a certificate that exists."""
    new = [require("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run(
        [*new, "-keyout", folder / "k.pem", "-out", folder / "c.pem"],
        check=True,
        capture_output=True,
        timeout=PATIENCE,
    )
    lines = re.sub(r"(ssl_certificate) .*;", rf"\1 {folder}/c.pem;", lines)
    return re.sub(r"(ssl_certificate_key) .*;", rf"\1 {folder}/k.pem;", lines)


def restart(serve: Serve, gone: Running) -> Running:
    """The same server again: its port, its log."""
    assert gone.process.poll() is not None
    return serve("--port", str(gone.port), "--log=sqlite:x.db")


def publish(port: int, *texts: str) -> None:
    for text in texts:
        body = {"room": "developers", "text": text}
        assert httpx.post(f"http://127.0.0.1:{port}/messages", json=body).status_code == 201


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

    with Observer(nginx.port, "/messages?room=developers", headers=STREAM) as away:
        assert away.status == 200
        assert away.headers["content-type"] == "text/event-stream"
        assert away.headers["cache-control"] == "no-store"
        assert away.headers["access-control-allow-origin"] == "*"
        assert away.next_or_end() is None
        assert away.leftover == [f"retry: {away.retry}"]
        assert 2_000 <= (away.retry or 0) <= 10_000
    url = f"http://127.0.0.1:{nginx.port}/messages"
    assert httpx.post(url, json={"room": "developers", "text": "lost?"}, headers=STREAM).status_code == 503
    assert httpx.get(f"{url}?room=developers", headers={"accept": "application/json"}).status_code == 503

    restart(serve, server)
    publish(nginx.port, "three")
    resumed = {**STREAM, "Last-Event-ID": follower.last_id}
    with Observer(nginx.port, "/messages?room=developers", headers=resumed) as follower:
        assert [event.json["text"] for event in follower.until_live()[:-1]] == ["three"]


def test_over_a_socket_file_the_access_log_names_the_client_whatever_that_says_of_itself(
    serve: Serve, front: Front, tmp_path: Path
) -> None:
    path = tmp_path / "roomcast.sock"
    options = ["--log=memory:", "--trusted-proxy=10.0.0.0/8"]  # nginx's client is on loopback here, and no proxy
    server = Running([sys.executable, "-m", "roomcast", "serve", f"--host=unix:{path}", *options], tmp_path)
    try:
        server.wait_until_it_says("^  log ")
        at_file = re.sub("unix:.*?;", f"unix:{path};", SOCKET_FILE)
        lines = re.sub(r"^ +server 127.0.0.1:8080;.*\n", at_file, LINES, flags=re.MULTILINE)
        version = "        proxy_http_version 1.1;\n"
        nginx = front(own=lines.replace(version, version + CLIENT))
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
        server.kill()


def test_a_body_over_the_limit_is_refused_in_roomcasts_own_words(serve: Serve, front: Front) -> None:
    nginx = front(serve().port)
    body = {"room": "developers", "text": "x" * 1_200_000}
    answer = httpx.post(f"http://127.0.0.1:{nginx.port}/messages", json=body)
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("tls", "http_1_0", "drains"),
    [(False, False, False), (True, False, False), (False, True, True), (True, False, True)],
    ids=["http/1.1, killed", "h2, killed", "http/1.1, drained, over http/1.0 to roomcast", "h2, drained"],
)
def test_a_page_in_chromium_passes_a_restart_without_a_reload(
    serve: Serve, front: Front, tls: bool, http_1_0: bool, drains: bool
) -> None:
    """Both roomcast's own page, and an EventSource of which nobody takes care."""
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
            wait_for(lambda: nginx.accesses().count("GET /messages?room=developers HTTP") >= 2, "a reconnection")
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
