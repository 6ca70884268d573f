"""How commands reach a server: headers from the environment, certificates, and answers of other servers."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.certificate import Certificate
from tests.cli.shell import TO_THE_END, run
from tests.client.scripted import ScriptedServer, aside
from tests.running import PATIENCE

COMMANDS = [
    ["rooms"],
    ["delete", "abcd-1"],
    ["tail", "developers"],
    ["publish", "developers", "x"],
    ["export", "developers"],
    ["import", "-"],
    ["bench", "--followers=1"],
    ["torture", "--followers=1", "--minutes=0.01"],
]
LINE = b'{"room":"developers","text":"x"}\n'
BY_NAME = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    scripted = ScriptedServer()
    yield scripted
    scripted.close()


def at(url: str, command: list[str]) -> list[str]:
    """The command with the server's address, as an argument or an option."""
    return [*command, url] if command[0] in ("bench", "torture") else [*command, f"--url={url}"]


@BY_NAME
def test_headers_may_come_from_the_environment(scripted: ScriptedServer, command: list[str]) -> None:
    url = scripted.url.removesuffix("/events")
    env = {"ROOMCAST_HEADER": "Authorization: Bearer secret\n\nX-Team: red\n"}
    running = aside(run, *at(url, command), "--header=x-team: blue", input=LINE, **env)
    asked = scripted.next()
    assert asked.headers["authorization"] == "Bearer secret"
    assert asked.headers["x-team"] == "blue"
    asked.answer("403 Forbidden")
    scripted.close()
    done = running.result(TO_THE_END + PATIENCE)
    assert done.returncode == (2 if command[0] == "torture" else 1)
    assert done.stderr.count("\n") == 1, done.stderr


@BY_NAME
def test_each_command_sends_the_token_of_the_environment(scripted: ScriptedServer, command: list[str]) -> None:
    running = aside(run, *at(scripted.url.removesuffix("/events"), command), input=LINE, ROOMCAST_TOKEN="rck_a_b")
    asked = scripted.next()
    assert asked.headers["authorization"] == "Bearer rck_a_b"
    asked.answer("403 Forbidden")
    scripted.close()
    assert running.result(TO_THE_END + PATIENCE).returncode in (1, 2)


@pytest.mark.parametrize("command", COMMANDS[:-1], ids=lambda command: command[0])
def test_a_given_credential_overrides_the_user_and_password_of_the_url(
    scripted: ScriptedServer, command: list[str]
) -> None:
    url = scripted.url.removesuffix("/events").replace("http://", "http://u:p@")
    running = aside(run, *at(url, command), input=LINE, ROOMCAST_HEADER="authorization: Bearer mine")
    asked = scripted.next()
    assert asked.headers["authorization"] == "Bearer mine"
    asked.answer("403 Forbidden")
    scripted.close()
    assert running.result(TO_THE_END + PATIENCE).returncode == 1


def test_the_error_for_a_malformed_header_in_the_environment_does_not_show_it() -> None:
    done = run("rooms", ROOMCAST_HEADER="X-A: b\nsecret")
    assert done.returncode == 2
    assert "ROOMCAST_HEADER" in done.stderr
    assert "secret" not in done.stderr


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(tmp_path)


class Page(BaseHTTPRequestHandler):
    """Gives the same answer to every request, like a proxy without a server behind it."""

    protocol_version = "HTTP/1.1"
    status = 404

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(self.status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def page(request: pytest.FixtureRequest) -> Iterator[ThreadingHTTPServer]:
    kind = type("OnePage", (Page,), {"status": getattr(request, "param", 404)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@BY_NAME
def test_an_untrusted_certificate_is_reported_with_the_remedy(
    page: ThreadingHTTPServer, certificate: Certificate, command: list[str]
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert, certificate.key)
    # Each connection's thread does its own handshake, so that a broken one does not stop the others.
    page.socket = context.wrap_socket(page.socket, server_side=True, do_handshake_on_connect=False)
    url = f"https://127.0.0.1:{page.server_port}"
    done = run(*at(url, command), input=LINE)
    assert done.returncode == (2 if command[0] == "torture" else 1)
    assert done.stderr.count("\n") == 1, done.stderr
    assert "certificate" in done.stderr
    assert "not trusted" in done.stderr
    assert "SSL_CERT_FILE" in done.stderr
    done = run(*at(url, command), input=LINE, SSL_CERT_FILE=str(certificate.cert))
    assert "404" in done.stderr, "the certificate is trusted now, and the page is answered"


@pytest.mark.parametrize("command", COMMANDS[:-1], ids=lambda command: command[0])
def test_https_to_a_server_without_tls_is_reported_with_the_remedy(
    page: ThreadingHTTPServer, command: list[str]
) -> None:
    done = run(*at(f"https://127.0.0.1:{page.server_port}", command), input=LINE)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "it speaks no TLS on this port: write http:// instead of https://" in done.stderr


def test_a_missing_file_of_certificates_is_reported() -> None:
    done = run("rooms", SSL_CERT_FILE="/nowhere.pem")
    assert (done.returncode, "/nowhere.pem" in done.stderr, "no such file" in done.stderr) == (2, True, True)


@BY_NAME
@pytest.mark.parametrize("page", [200, 401, 404], indirect=True)
def test_a_page_of_another_server_is_reported_in_one_sentence(
    page: ThreadingHTTPServer, command: list[str]
) -> None:
    done = run(*at(f"http://127.0.0.1:{page.server_port}", command), input=LINE)
    assert done.returncode == (2 if command[0] == "torture" else 1), done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("roomcast: ")
