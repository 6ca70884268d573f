"""Mistakes in the set-up that waiting does not fix: the server does not start, and says what to do."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import dns.asyncresolver
import pytest
from dns.exception import Timeout
from dns.resolver import NXDOMAIN
from pymongo import AsyncMongoClient

from roomcast.log.mongodb import diagnosis
from roomcast.log.mongodb import log as mongodb
from roomcast.model.errors import LogUnusable
from roomcast.model.retention import Retention
from tests.conftest import require
from tests.log.steps import publish, seqs
from tests.mongodb.database import SERVERS, MongoDB, SecantusDB, require_secantusdb
from tests.mongodb.proxy import Proxy
from tests.running import PATIENCE

SOON = "serverSelectionTimeoutMS=500"

# PyMongo leaves a socket to the garbage collector if a server hangs up during the TLS handshake.
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module", autouse=True)
def no_warning_in_the_next_module() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two self-signed certificates for localhost: ours.pem and other.pem."""
    folder = tmp_path_factory.mktemp("certificates")
    new = [require("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    for name in ("ours", "other"):
        path = folder / f"{name}.pem"
        where = [
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            str(path),
            "-out",
            str(folder / "certificate"),
        ]
        subprocess.run([*new, *where], check=True, capture_output=True)
        path.write_text(path.read_text() + (folder / "certificate").read_text())
    return folder


@pytest.fixture
async def with_tls(mongo: MongoDB, certificates: Path) -> AsyncIterator[MongoDB]:
    """The database behind a proxy that speaks TLS."""
    async with Proxy(mongo.address, server_side(certificates)) as proxy:
        yield MongoDB(mongo.kind, f"mongodb://localhost:{proxy.port}")


def server_side(certificates: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "ours.pem")
    return context


async def refusal(url: str) -> str:
    with pytest.raises(LogUnusable) as refused:
        await mongodb.open_log(url, "", retention=Retention())
    text = str(refused.value)
    assert "\n" not in text
    return text


async def opened(url: str) -> mongodb.MongoLog:
    log = await mongodb.open_log(url, "", retention=Retention())
    await log.close()
    return log


async def test_tls_with_the_right_authority_works(with_tls: MongoDB, certificates: Path) -> None:
    options = f"tls=true&tlsCAFile={certificates}/ours.pem&directConnection=true"
    tuning = with_tls.tuning
    log = await mongodb.open_log(with_tls.url(options=options), "", retention=Retention(), tuning=tuning)
    assert seqs(await publish(log, "a", "b")) == [1, 2]
    await log.close()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("", "speaks TLS only: add tls=true"),
        ("tls=true", "is not trusted .*self.signed certificate.*: name its authority with tlsCAFile"),
        ("tls=true&tlsCAFile={}/other.pem", "is not trusted"),
    ],
    ids=["forgotten", "no authority", "another authority"],
)
async def test_tls_that_is_forgotten_or_not_trusted_is_refused(
    with_tls: MongoDB, certificates: Path, options: str, says: str
) -> None:
    options = options.format(certificates) + f"&directConnection=true&{SOON}"
    assert re.search(says, await refusal(with_tls.url(options=options)))


async def test_a_server_under_another_name_than_its_certificates_is_refused(
    with_tls: MongoDB, certificates: Path
) -> None:
    url = with_tls.url(
        options=f"tls=true&tlsCAFile={certificates}/ours.pem&{SOON}", address=("127.0.0.1", with_tls.address[1])
    )
    assert "the server by a name that its certificate has" in await refusal(url)


@pytest.mark.parametrize("ours", ["", "other.pem"], ids=["none", "one of another authority"])
async def test_a_missing_or_unknown_client_certificate_is_refused(certificates: Path, ours: str) -> None:
    context = server_side(certificates)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates / "ours.pem")
    options = f"tls=true&tlsCAFile={certificates}/ours.pem&{SOON}"
    if ours:
        options += f"&tlsCertificateKeyFile={certificates}/{ours}"
    with listening(context) as port:
        said = await refusal(f"mongodb://localhost:{port}/x?{options}")
    assert "in the connection string" in said
    assert "tlsCertificateKeyFile" in said


@contextmanager
def listening(context: ssl.SSLContext) -> Iterator[int]:
    """A server that makes the TLS handshake and sends its alert if that fails. asyncio's server would only close
    the connection."""
    with ThreadPoolExecutor() as pool, socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    pool.submit(shake_hands, server.accept()[0], context)

        pool.submit(serve)
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)  # closing alone would not wake it


def shake_hands(connection: socket.socket, context: ssl.SSLContext) -> None:
    connection.settimeout(2)
    tls = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    with suppress(OSError):
        tls.do_handshake()
    # Reads to the end: if bytes are left unread, closing resets the connection, and the client may lose the alert.
    with socket.socket(fileno=tls.detach()) as plain, suppress(OSError):
        plain.settimeout(2)
        plain.shutdown(socket.SHUT_WR)
        while plain.recv(65_536):
            pass


async def test_tls_with_a_server_that_has_none_is_refused(ferretdb: MongoDB) -> None:
    assert "does not speak TLS" in await refusal(ferretdb.url(options=f"tls=true&{SOON}"))


async def test_a_server_that_is_not_mongodb_is_refused() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(16)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert "is not MongoDB" in await refusal(f"mongodb://127.0.0.1:{port}/x?{SOON}")


@pytest.mark.parametrize("mongo", SERVERS, indirect=True)
async def test_a_set_of_another_name_is_refused(mongo: MongoDB) -> None:
    said = await refusal(mongo.url(options=f"replicaSet=nosuch&{SOON}"))
    assert "names no member of a set called nosuch: correct replicaSet" in said


async def test_a_write_concern_with_more_members_than_the_set_has_is_refused(secantusdb: MongoDB) -> None:
    assert "cannot keep the requested write concern" in await refusal(secantusdb.url(options="w=2"))


@pytest.fixture(scope="module")
def with_users() -> Iterator[SecantusDB]:
    """A server that requires a password; its only user is ada, password lovelace."""
    require_secantusdb()
    server = SecantusDB()
    server.start()
    asyncio.run(create_user(server.url))
    server.stop()
    server.options.append("--auth")
    server.start()
    yield server
    server.remove()


async def create_user(url: str) -> None:
    async with AsyncMongoClient[dict[str, object]](url) as client:
        await client.admin.command("createUser", "ada", pwd="lovelace", roles=["root"])


async def test_a_missing_user_and_a_wrong_password_are_refused(with_users: SecantusDB) -> None:
    server = with_users.shared
    assert "requires a user and a password: use mongodb://USER:PASSWORD@HOST" in await refusal(server.url())
    for login in ("ada:hunter2", "bob:lovelace"):
        said = await refusal(server.url(options="authSource=admin").replace("://", f"://{login}@"))
        assert "refuses the user or the password" in said
        assert login.partition(":")[2] not in said
    url = server.url(options="authSource=admin").replace("://", "://ada:lovelace@")
    assert (await opened(url)).epoch


async def test_an_unknown_name_is_refused_and_a_silent_name_server_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trouble: Exception = NXDOMAIN()  # type: ignore[no-untyped-call]

    async def resolve(*_: object, **__: object) -> None:
        raise trouble

    monkeypatch.setattr(dns.asyncresolver, "resolve", resolve)
    url = "mongodb+srv://nosuch.example.org/x"
    assert "correct its host and options" in await refusal(url)
    trouble = Timeout()  # type: ignore[no-untyped-call]
    assert not (await opened(url)).epoch


@pytest.mark.parametrize("tls", ["true", "false"])
async def test_a_server_that_is_away_is_waited_for_with_and_without_tls(
    monkeypatch: pytest.MonkeyPatch, tls: str
) -> None:
    monkeypatch.setattr(diagnosis, "_PROBE_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"mongodb://127.0.0.1:{port}/x?tls={tls}&serverSelectionTimeoutMS=50"
    assert not (await opened(url)).epoch


def test_the_server_ends_with_one_sentence_and_status_1(tmp_path: Path, mongo: MongoDB) -> None:
    url = mongo.url(options=f"replicaSet=nosuch&{SOON}")
    serve = [sys.executable, "-m", "roomcast", "serve", "--port", "0", "--page-port", "0", "--log", url]
    done = subprocess.run(serve, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "correct replicaSet" in line
