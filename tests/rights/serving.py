"""Servers for the tests of rights. Each is reached in the three ways: the fast path, h11, and ASGI in a host
application. The first two are two ports of one server."""

from __future__ import annotations

import base64
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from roomcast.auth.keys import grantor_of, sha256
from roomcast.auth.secrets import Secrets
from roomcast.auth.tickets import seal
from roomcast.model.settings.key import Key
from tests.auth.signing import pem
from tests.auth.signing import token as signed
from tests.raw import JSON, Answer, Raw
from tests.running import WORKERS, Running, free_port, start_uvicorn

SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"
SECRETS = Secrets.of_text(SECRET, "the secret")
OTHER_SECRETS = Secrets.of_text(SECRET[::-1], "the other secret")
_TWO_WAYS = """
from roomcast.cli.main import main
from roomcast.http.fast_path import FastPath
from roomcast.http.http1 import Http1
from roomcast.serve import run, server

listen, h11 = run._listen, []

def listening(*arguments):
    each = listen(*arguments)
    h11.append(each[0][-1].port)
    return each

class Chosen(FastPath):
    # The second port's connections are h11's from their first byte on.
    def connection_made(self, transport):
        super().connection_made(transport)
        if transport.get_extra_info("sockname")[1] in h11:
            self._hand_over(b"")

run._listen, server.FastPath = listening, Chosen
main()
"""


def _key(name: str) -> str:
    return f"rck_{name}_{base64.urlsafe_b64encode(name.encode() * 32)[:43].decode()}"


ALL, NARROW, FOUR, WRITER, READER, LIMITED = map(_key, ("all", "narrow", "four", "writer", "reader", "limited"))
KEYS = (
    Key(name="all", sha256=sha256(ALL), read=("*",), publish=("*",), metrics=True, admin=True),
    Key(
        name="narrow",
        sha256=sha256(NARROW),
        read=("user/42", "team/7/*"),
        publish=("user/42", "chat/7"),
        user="user-42",
    ),
    Key(name="four", sha256=sha256(FOUR), read=("user/4*",)),
    Key(name="writer", sha256=sha256(WRITER), publish=("*",)),
    Key(name="reader", sha256=sha256(READER), read=("*",)),
    Key(
        name="limited",
        sha256=sha256(LIMITED),
        read=("*",),
        publish=("*",),
        streams=2,
        publish_rate=1 / 600,
        publish_burst=3,
    ),
)
ISS, AWAY = "https://app.example", "https://away.example"
"""Issuers: one with a key in a file, and one whose keys cannot be fetched."""
ANONYMOUS = ("read:public/*", "publish:inbox/*")
BY_NAME = {key.name: grantor_of(key) for key in KEYS}


def ticket(
    *rooms: str,
    age: float = 0,
    seconds: float = 3600,
    by: str = "all",
    secrets: Secrets = SECRETS,
    **more: Any,
) -> str:
    """A ticket that was issued `age` seconds ago, for `seconds`."""
    return seal(secrets, BY_NAME[by], rooms=rooms, now=time.time() - age, seconds=seconds, **more)


class Way(NamedTuple):
    """One way into a server."""

    name: str
    port: int
    running: Running

    def open(self, data: bytes) -> Raw:
        """Opens a stream; it begins with its head."""
        connection = Raw(self.port, data)
        assert connection.answer(to_head=True).status == 200
        return connection

    def ask_whole(self, data: bytes) -> tuple[Any, str]:
        """The JSON of an answer without a length, and its Link. The request asks for the connection to end."""
        with Raw(self.port, data) as connection:
            answer = connection.answer(to_head=True)
            body = connection.rest()
        assert answer.status == 200, body
        if answer.headers.get("transfer-encoding") == "chunked":
            body = b"".join(body.split(b"\r\n")[1::2])
        return json.loads(body), answer.headers.get("link", "")

    def ask(self, data: bytes, *, to_head: bool = False) -> Answer:
        """The answer to one request; of a stream, its head."""
        with Raw(self.port, data) as connection:
            return connection.answer(to_head=to_head or data.startswith(b"HEAD"))


@contextmanager
def two_ways(folder: Path, *options: str, log: str = "memory:") -> Iterator[Sequence[Way]]:
    """A server of `roomcast serve`."""
    ports = ("--port=0", f"--page-port={free_port()}")  # 0 would mean no page
    command = [sys.executable, "-c", _TWO_WAYS, "serve", *ports, f"--log={log}", *options, *WORKERS]
    running = Running(command, folder)
    try:
        found = running.wait_until_it_says(r"follow +http://\S+?:(\d+)/\S+\n +look +http://\S+?:(\d+)/")
        running.port, running.page_port = int(found[1]), int(found[2])
        yield Way("fast", running.port, running), Way("h11", running.page_port, running)
        assert "Traceback" not in running.said(), running.said()
    finally:
        running.end()


@contextmanager
def over_asgi(folder: Path, options: dict[str, Any]) -> Iterator[Way]:
    """A host application with roomcast mounted in it."""
    root = str(Path(__file__).parents[2])
    python_path = f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    env = {"ROOMCAST_TEST_OPTIONS": json.dumps(options), "PYTHONPATH": python_path}
    running = start_uvicorn(
        folder, "tests.rights.hosted:app", "--http=h11", "--no-server-header", "--log-level=info", env=env
    )
    try:
        yield Way("asgi", running.port, running)
        assert "Traceback" not in running.said(), running.said()
    finally:
        running.end()


def issuers(folder: Path) -> list[dict[str, Any]]:
    """The configuration rows of keys and issuers."""
    (folder / "public.pem").write_bytes(pem("ES256", "server"))
    read, claims = ["user/{sub}", "team/{teams}/*"], {"claims": True}
    by_key = {"iss": ISS, "audience": "roomcast", "public_keys": [str(folder / "public.pem")]}
    away = {"iss": AWAY, "audience": "roomcast", "jwks": "http://127.0.0.1:1/jwks.json"}
    return [{**by_key, "read": read, "publish": ["chat/{teams}"], **claims}, away]


def token(**claims: Any) -> str:
    """A token signed with the server's secret, valid for 15 minutes unless its claims say otherwise."""
    now = time.time()
    return signed({"sub": "42", "iat": now, "exp": now + 900, **claims}, key=SECRET.encode())


def own(*read: str, **claims: Any) -> str:
    """The same, with these grants in its own claim."""
    said = {name: claims.pop(name) for name in ("publish", "user") if name in claims}
    return token(**claims, roomcast={"read": read, **said})


def token_of(iss: str, **claims: Any) -> str:
    """A token of an issuer."""
    now = time.time()
    said = {"iss": iss, "aud": "roomcast", "sub": "42", "iat": now, "exp": now + 900, **claims}
    return signed(said, "ES256", name="server", kid="1")


def configured(folder: Path) -> Path:
    """A file of `--config` with all of the keys and the issuers."""
    rows = [
        f'[[key]]\nname = "{key.name}"\nsha256 = "{key.sha256}"\nread = {json.dumps(key.read)}\n'
        f"publish = {json.dumps(key.publish)}\n"
        + (f'user = "{key.user}"\n' if key.user else "")
        + f"metrics = {json.dumps(key.metrics)}\nadmin = {json.dumps(key.admin)}\n"
        + (f"streams = {key.streams}\n" if key.streams else "")
        + (f"publish_rate = {key.publish_rate}\npublish_burst = {key.publish_burst}\n" if key.publish_rate else "")
        for key in KEYS
    ]
    rows += [
        "".join(["[[issuer]]\n", *(f"{name} = {json.dumps(value)}\n" for name, value in row.items())])
        for row in issuers(folder)
    ]
    (folder / "secret").write_text(f"{SECRET}\n")
    file = folder / "roomcast.toml"
    file.write_text(f'secret_files = ["{folder / "secret"}"]\n' + "".join(rows))
    return file


# Requests

SSE, NDJSON, PAGE = "Accept: text/event-stream", "Accept: application/x-ndjson", "Accept: application/json"
FORMATS = (SSE, NDJSON, PAGE)


def bearer(credential: str) -> str:
    """The header field of a credential."""
    return f"Authorization: Bearer {credential}"


def request(
    method: str,
    target: str,
    *fields: str,
    body: bytes | None = None,
    host: str = "localhost",
    version: str = "1.1",
) -> bytes:
    """The bytes of a request."""
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    own = [f"Host: {host}"] if host else []
    lines = [f"{method} {target} HTTP/{version}", *own, *length, *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + (body or b"")


def get(target: str, *fields: str, **more: Any) -> bytes:
    return request("GET", target, *fields, **more)


def publish(body: object, *fields: str, target: str = "/messages") -> bytes:
    """The bytes of a publish: of a message, a batch, or any body."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return request("POST", target, JSON, *fields, body=data)
