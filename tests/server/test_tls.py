"""TLS: what goes over the wire, who is let in, and how a certificate is renewed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.certificate import Certificate, connect
from tests.observer import Observer
from tests.raw import JSON, Raw, post, request
from tests.running import PATIENCE, Running, start_roomcast, wait_for

BODY = b'{"room":"a","text":"secret-text"}'
HEALTHZ = request("GET", "/healthz")
CHUNKED = request("POST", "/messages", JSON, "Transfer-Encoding: chunked") + b"21\r\n%b\r\n0\r\n\r\n" % BODY
FOLLOW = request("GET", "/messages?room=a")
_RECORDS = (20, 21, 22, 23)
"""The kinds of TLS records (RFC 8446, section 5.1)."""
_LONGEST_RECORD = 16_384 + 256

Start = Callable[..., Running]


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return Certificate(tmp_path)


@pytest.fixture
def start(tmp_path: Path, certificate: Certificate) -> Iterator[Start]:
    """Starts a server with the certificate, which must not log a traceback."""
    started: list[Running] = []

    def begin(*options: str) -> Running:
        started.append(start_roomcast(tmp_path, "--log=memory:", *options, certificate=certificate))
        return started[-1]

    yield begin
    for server in started:
        assert "Traceback" not in server.said()
        server.end()


class Tap:
    """A client that keeps all bytes as they came over the wire."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self.wire = b""
        self.text = b""
        """The same, decrypted."""
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._socket.settimeout(PATIENCE)
        self._socket.connect(("127.0.0.1", port))
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        while not self._done(self._tls.do_handshake):
            assert self._receive()

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def until(self, mark: bytes) -> None:
        while mark not in self.text:
            self._read()
            assert mark in self.text or self._receive(), self.text

    def end(self) -> None:
        """Reads to the end of the connection."""
        while self._receive():
            self._read()
        self._socket.close()

    def _read(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            while data := self._tls.read(65536):
                self.text += data

    def _receive(self) -> bool:
        data = self._socket.recv(65536)
        self.wire += data
        self._in.write(data)
        return bool(data)

    def _flush(self) -> None:
        if data := self._out.read():
            self._socket.sendall(data)

    def _done(self, step: Callable[[], None]) -> bool:
        try:
            step()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._flush()
        return True


def check_that_all_is_tls(wire: bytes) -> None:
    """Whether these bytes are whole TLS records from the first to the last."""
    at = 0
    while at < len(wire):
        kind, version, length = wire[at], wire[at + 1 : at + 3], int.from_bytes(wire[at + 3 : at + 5])
        assert kind in _RECORDS, (at, wire[at : at + 80])
        assert version in (b"\3\1", b"\3\3"), (at, wire[at : at + 80])
        assert length <= _LONGEST_RECORD
        at += 5 + length
    assert at == len(wire)


def test_nothing_is_ever_written_past_tls(start: Start, certificate: Certificate) -> None:
    """A follower that is live, then behind with bytes in the kernel, then live again, and is drained."""
    server = start("--heartbeat=0.2", "--slow-after=60")
    tap = Tap(server.port, certificate.context)
    tap.send(HEALTHZ)
    tap.until(b'"status":"ok"')
    tap.send(FOLLOW)
    tap.until(b"event: live")
    for number in range(3):
        server.publish(f"secret-{number}", "a")
        tap.until(b"secret-%d" % number)
    for number in range(50):
        server.publish(f"large-{number} {'x' * 20_000}", "a")
    wait_for(lambda: server.metric("roomcast_followers_behind") == 1, "the follower to be behind")
    tap.until(b"large-49 ")
    wait_for(lambda: server.metric("roomcast_followers_behind") == 0, "the follower to be live")
    server.publish("secret-last", "a")
    tap.until(b"secret-last")
    tap.text = b""
    tap.until(b"\r\n:\n\r\n")
    server.process.send_signal(signal.SIGTERM)
    tap.until(b"retry: ")
    tap.until(b"0\r\n\r\n")
    tap.end()
    assert server.process.wait(PATIENCE) == 0
    check_that_all_is_tls(tap.wire)
    assert all(word not in tap.wire for word in (b"secret", b"large", b"retry", b"event", b"HTTP"))


def test_a_follower_that_takes_its_messages_is_live_after_each_of_them(start: Start) -> None:
    """A limit of 0 bytes is reached over TLS when nothing waits: such a follower fell behind at each write."""
    server = start()
    with Observer(server.port, "/messages?room=a") as follower:
        follower.until_live()
        for number in range(20):
            server.publish(str(number), "a")
            assert follower.texts(1) == [str(number)]
            assert server.metric("roomcast_followers_behind") == 0
    assert server.metric("roomcast_deliveries_total") == 20


def test_both_ports_speak_tls_and_the_banner_says_so(tmp_path: Path, certificate: Certificate) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        page = free.getsockname()[1]
    server = start_roomcast(tmp_path, "--log=memory:", f"--page-port={page}", certificate=certificate)
    try:
        assert server.page_port == page
        for port in (server.port, server.page_port):
            with Raw(port, HEALTHZ) as connection:
                assert connection.answer().status == 200
            with Observer(port, "/messages?room=a&replay=none") as follower:
                assert follower.next().name == "live"
                server.publish("x", "a")
                assert follower.texts(1) == ["x"]
        banner = re.findall(r"^  (post|follow|look) .*https://localhost:", server.said(), re.MULTILINE)
        assert banner == ["post", "follow", "look"]
        assert "http://" not in server.said()
    finally:
        server.end()


def test_http_1_1_is_all_that_is_offered_over_tls_1_2_and_1_3(start: Start, certificate: Certificate) -> None:
    port = start().port
    certificate.context.set_alpn_protocols(["h2", "http/1.1"])
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        certificate.context.maximum_version = version
        with Raw(port, HEALTHZ) as connection:
            assert isinstance(connection.socket, ssl.SSLSocket)
            assert connection.socket.selected_alpn_protocol() == "http/1.1"
            assert connection.socket.version() == version.name.replace("_", ".")
            assert connection.answer().status == 200
    certificate.context.set_alpn_protocols(["h2"])
    with Raw(port, HEALTHZ) as connection:
        assert isinstance(connection.socket, ssl.SSLSocket)
        assert connection.socket.selected_alpn_protocol() is None
        assert connection.answer().status == 200


def test_older_versions_are_refused(start: Start) -> None:
    command = ["openssl", "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-connect"]
    done = subprocess.run(
        [*command, f"127.0.0.1:{start().port}"], stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE
    )
    assert done.returncode == 1
    assert b"New, (NONE), Cipher is (NONE)" in done.stdout


@pytest.mark.parametrize(
    "sent",
    [b"", HEALTHZ, b"\x16\x03\x01\x00\x05hello", b"\x16\x03\x01\x40\x00\x01", b"\0" * 5_000],
    ids=["nothing", "plain HTTP", "no handshake", "half a handshake", "zeros"],
)
def test_a_client_that_does_not_speak_tls_leaves_no_trace_in_the_log(start: Start, sent: bytes) -> None:
    server = start("--log-level=debug")
    with socket.create_connection(("127.0.0.1", int(server.port)), PATIENCE) as plain:
        plain.sendall(sent)
        plain.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while answer := plain.recv(4096):
                check_that_all_is_tls(answer)
    assert server.get("/healthz").status_code == 200
    wait_for(lambda: "/healthz" in server.said(), "its line")
    assert [line for line in server.said().splitlines()[7:] if "/healthz" not in line] == []


def test_a_client_that_refuses_the_certificate_leaves_no_trace_in_the_log(start: Start) -> None:
    server = start("--log-level=debug")
    with connect(int(server.port)) as plain, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(plain, server_hostname="localhost")
    assert server.get("/healthz").status_code == 200
    wait_for(lambda: "/healthz" in server.said(), "its line")
    assert [line for line in server.said().splitlines()[7:] if "/healthz" not in line] == []


def test_a_client_that_speaks_tls_to_a_plain_port_gets_a_line_and_no_traceback(server: Running) -> None:
    context = ssl.create_default_context()
    with connect(server.port) as plain, pytest.raises(ssl.SSLError):
        context.wrap_socket(plain, server_hostname="localhost")
    wait_for(lambda: " 400 " in server.said(), "its line")
    assert "Traceback" not in server.said()
    assert server.said().isascii()
    assert all(line.isprintable() for line in server.said().splitlines())


_IMPATIENT = (
    "from roomcast.http import context;"
    "context.HEAD_SECONDS = 1.0; context.IDLE_SECONDS = 1.0; context.LOOK_SECONDS = 0.1;"
    "from roomcast.cli.main import main; main()"
)


@pytest.fixture
def impatient(tmp_path: Path, certificate: Certificate) -> Iterator[Running]:
    """A server that gives a handshake a second, and the end of a connection as well."""
    server = start_roomcast(tmp_path, "--log=memory:", program=("-c", _IMPATIENT), certificate=certificate)
    yield server
    assert "Traceback" not in server.said()
    server.end()


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x40\x00\x01"], ids=["nothing", "its beginning"])
def test_a_handshake_that_does_not_end_is_ended(impatient: Running, sent: bytes) -> None:
    with connect(int(impatient.port)) as slow:
        slow.sendall(sent)
        with contextlib.suppress(ConnectionError):
            assert slow.recv(4096) == b""
    counted = 'roomcast_connections_closed_total{reason="handshake"}'
    wait_for(lambda: impatient.metric(counted) == 1, "it to be counted")
    impatient.wait_until_it_says("warning: closed 1 connections that did not finish their TLS handshake")


def test_a_client_that_does_not_answer_the_end_of_its_connection_is_cut(
    impatient: Running, certificate: Certificate
) -> None:
    with connect(impatient.port) as held:
        held.sendall(request("GET", "/healthz", "Connection: close"))
        # Not through TLS, which would see the end and answer it.
        with contextlib.suppress(ConnectionError):
            while socket.socket.recv(held, 4096):
                pass


@pytest.mark.parametrize("asked", [post(BODY), CHUNKED], ids=["on the fast path", "by h11"])
def test_a_client_that_ends_its_side_while_it_is_answered_has_published(start: Start, asked: bytes) -> None:
    """Over TLS such a client cannot be answered any more: asyncio logged a warning at each attempt."""
    server = start()
    for number in range(20):
        with connect(server.port) as client:
            assert isinstance(client, ssl.SSLSocket)
            client.sendall(asked)
            with contextlib.suppress(OSError):
                client.unwrap()
        wait_for(lambda: server.metric("roomcast_messages_published_total") == number + 1, "it")  # noqa: B023
    wait_for(lambda: server.said().count("POST /messages 201") == 20, "their lines")
    assert "warning" not in server.said()


def test_a_stop_does_not_wait_for_clients_that_never_answer_it(start: Start) -> None:
    server = start()
    with contextlib.ExitStack() as stack:
        for target in ("/messages?room=a", "/healthz"):
            client = stack.enter_context(connect(server.port))
            client.sendall(request("GET", target))
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        assert server.terminate() == 0


def shown(port: int) -> bytes | None:
    """The certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with connect(int(port)) as plain, context.wrap_socket(plain) as client:
        return client.getpeercert(binary_form=True)


def _encoded(certificate: Certificate) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.cert.read_text())


def _replace(old: Certificate, new: Certificate) -> None:
    os.replace(new.cert, old.cert)
    os.replace(new.key, old.key)


def test_a_renewed_certificate_is_shown_after_a_hangup(
    start: Start, certificate: Certificate, tmp_path: Path
) -> None:
    server = start()
    assert shown(server.port) == _encoded(certificate)
    with Observer(server.port, "/messages?room=a") as follower:
        follower.until_live()
        for count, kind in enumerate(("rsa", "ecdsa"), 1):  # of another kind: both must not be there at once
            _replace(certificate, Certificate(tmp_path, f"renewed-{count}", kind))
            server.process.send_signal(signal.SIGHUP)
            wait_for(lambda: server.said().count("read again: the TLS files") == count, "the reading")  # noqa: B023
            assert shown(server.port) == _encoded(certificate)
        with connect(int(server.port)) as plain:
            fresh = ssl.create_default_context(cafile=certificate.cert)
            with fresh.wrap_socket(plain, server_hostname="localhost") as client:
                client.sendall(post(BODY))
                assert client.recv(4096).startswith(b"HTTP/1.1 201")
        assert follower.texts(1) == ["secret-text"]


@pytest.mark.parametrize("bad", ["another key", "no file", "no PEM"])
def test_bad_new_files_leave_the_old_ones_in_use(
    start: Start, certificate: Certificate, tmp_path: Path, bad: str
) -> None:
    server = start()
    before = _encoded(certificate)
    if bad == "another key":
        os.replace(Certificate(tmp_path, "other").key, certificate.key)
    elif bad == "no file":
        certificate.key.unlink()
    else:
        certificate.cert.write_text("not a certificate")
    server.process.send_signal(signal.SIGHUP)
    line = server.wait_until_it_says(r"^\S+ warning: the configuration stays as it was: (.*)$")[1]
    assert "--tls-" in line
    assert shown(server.port) == before
    assert server.get("/healthz").status_code == 200


def test_a_configuration_without_the_files_any_more_changes_nothing(
    tmp_path: Path, certificate: Certificate
) -> None:
    config = tmp_path / "roomcast.toml"
    config.write_text(f'tls_cert = "{certificate.cert}"\ntls_key = "{certificate.key}"\n')
    server = start_roomcast(tmp_path, "--log=memory:", f"--config={config}")
    try:
        config.write_text("")
        server.process.send_signal(signal.SIGHUP)
        server.wait_until_it_says("stays as it was: --tls-cert and --tls-key are gone")
        assert shown(server.port) == _encoded(certificate)
    finally:
        server.end()


def _fails(folder: Path, *options: str) -> str:
    """The error of a server that does not start."""
    command = [sys.executable, "-m", "roomcast", "serve", "--port=0", "--page-port=0", "--log=memory:", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1, done.stderr
    [line] = done.stderr.splitlines()
    return line


def test_a_start_that_fails_says_in_one_sentence_what_to_do(tmp_path: Path, certificate: Certificate) -> None:
    cert, key = certificate.options
    other, unlike = Certificate(tmp_path, "other"), Certificate(tmp_path, "unlike", "rsa")
    secret, pipe, text = tmp_path / "secret.key", tmp_path / "pipe", tmp_path / "text"
    encrypt = ["openssl", "pkey", "-aes128", "-passout", "pass:x", "-in", str(certificate.key)]
    subprocess.run([*encrypt, "-out", str(secret)], check=True, timeout=PATIENCE)
    os.mkfifo(pipe)
    text.write_text("no certificate")
    cases = {
        (cert,): "--tls-cert is given without --tls-key: a certificate needs its key, so give both",
        (key,): "--tls-key is given without --tls-cert: a certificate needs its key, so give both",
        (cert, "--tls-key=none"): "--tls-key none cannot be read (No such file or directory): name a file that",
        ("--tls-cert=none", key): "--tls-cert none cannot be read (No such file or directory): name a file that",
        (cert, f"--tls-key={tmp_path}"): "is not a regular file: name one",
        (f"--tls-cert={pipe}", key): "is not a regular file: name one",
        (cert, f"--tls-key={other.key}"): "is not the key of --tls-cert",
        (cert, f"--tls-key={unlike.key}"): "is not the key of --tls-cert",
        (cert, f"--tls-key={secret}"): "is encrypted: name one that needs no password",
        (f"--tls-cert={text}", key): "both must be PEM files",
        (cert, f"--tls-key={text}"): "both must be PEM files",
    }
    for options, words in cases.items():
        said = _fails(tmp_path, *options)
        assert said.startswith("roomcast: ")
        assert words in said
