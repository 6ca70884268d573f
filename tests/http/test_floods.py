"""A flood of bad credentials, by each way in: its client waits, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from roomcast.auth.guard import Guard, Mode
from roomcast.auth.keys import Keys, sha256
from roomcast.auth.rights import ConfiguredRights
from roomcast.delivery.engine import Engine
from roomcast.http import handler as module
from roomcast.http.asgi import AsgiApp
from roomcast.http.context import Context
from roomcast.http.fast_path import FastPath
from roomcast.http.handler import Handler
from roomcast.model.settings import Settings
from roomcast.model.settings.key import Key
from tests.delivery.fakes import until
from tests.http.clients import Transport

KNOWN, NEW = "rck_known_" + "k" * 43, "rck_new_" + "n" * 43
FLOODER, HONEST = "192.0.2.66", "192.0.2.1"
WAYS = ("fast", "h11", "asgi")
MESSAGE = b'{"room": "a", "user": "ada", "text": "x"}'


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FLOOD_SECONDS", 0.2)


@pytest.fixture
async def context() -> AsyncIterator[Context]:
    """The shared state of a server's connections, after one address has flooded it."""
    engine = await Engine.open(Settings(log="memory:", heartbeat=3600))
    rows = [
        Key(name=name, sha256=sha256(key), read=("*",), publish=("*",))
        for name, key in (("known", KNOWN), ("new", NEW))
    ]
    rights = ConfiguredRights(keys=Keys(rows))
    context = Context(Handler(engine, Guard(Mode.RIGHTS, rights)), engine)
    assert (await answer(context, "fast", KNOWN, FLOODER)).startswith(b"201")
    rights._budget.charge(FLOODER, 0.11)
    yield context
    await engine.close()


class Client(Transport):
    """The connection of an address."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return (self.address, 1) if name == "peername" else default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...


class Host:
    """A host's server that passes on a request."""

    def __init__(self, context: Context, credential: str, address: str, accept: str) -> None:
        self.written = b""
        fields = [(name.encode(), value.encode()) for name, value in _fields(credential, accept).items()]
        scope = {"type": "http", "path": "/messages", "client": (address, 1), "headers": fields}
        scope |= {"method": "GET", "query_string": b"room=a"} if accept else {"method": "POST"}
        self.serving = asyncio.create_task(AsgiApp(context.handler)(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": MESSAGE}

    async def _send(self, message: Any) -> None:
        self.written += b"%d " % message["status"] if "status" in message else message["body"]


def _fields(credential: str, accept: str) -> dict[str, str]:
    own = {"accept": accept} if accept else {"content-type": "application/json"}
    return {"host": "a", "authorization": f"Bearer {credential}", **own}


def sent(context: Context, way: str, credential: str, address: str, accept: str = "") -> Client | Host:
    """Sends a publish, or a follow with this `Accept`."""
    if way == "asgi":
        return Host(context, credential, address, accept)
    client = Client(address)
    connection = FastPath(context)
    connection.connection_made(client)
    fields = _fields(credential, accept) | ({} if accept else {"content-length": str(len(MESSAGE))})
    fields |= {"expect": "100-continue"} if way == "h11" and not accept else {}
    line = "GET /messages?room=a HTTP/1.1" if accept else "POST /messages HTTP/1.1"
    head = "\r\n".join([line, *(f"{name}: {value}" for name, value in fields.items()), "", ""])
    connection.data_received(head.encode() + (b"" if accept else MESSAGE))
    return client


async def answer(context: Context, way: str, credential: str, address: str, accept: str = "") -> bytes:
    """The answer, from its status on."""
    client = sent(context, way, credential, address, accept)
    try:
        await until(lambda: client.written.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n"))
    finally:
        if isinstance(client, Host):
            client.serving.cancel()
    return client.written.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").removeprefix(b"HTTP/1.1 ")


@pytest.mark.parametrize("way", WAYS)
async def test_a_flood_is_answered_late_and_a_cached_credential_at_once(context: Context, way: str) -> None:
    late = [sent(context, way, credential, FLOODER) for credential in ("bad", NEW)]
    assert (await answer(context, way, KNOWN, FLOODER)).startswith(b"201")
    assert (await answer(context, way, NEW, HONEST)).startswith(b"201")
    assert (await answer(context, way, "bad", HONEST)).startswith(b"401")
    assert [client.written for client in late] == [b"", b""]
    for client in late:
        await until(lambda client=client: client.written)  # type: ignore[misc]
        assert b"429" in client.written[:12]
        assert b"too many invalid credentials came from this address: send a valid one" in client.written


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
async def test_a_stream_of_a_flooder_is_told_to_retry(context: Context, way: str, accept: str) -> None:
    told = await answer(context, way, "bad", FLOODER, accept)
    assert told.startswith(b"200")
    assert b"retry" in told
    assert (await answer(context, way, "bad", FLOODER, "application/json")).startswith(b"429")


@pytest.mark.parametrize("way", ["fast", "h11"])
async def test_a_publish_of_a_flooder_is_cut_when_others_need_its_connection(context: Context, way: str) -> None:
    client = sent(context, way, "bad", FLOODER)
    assert context.connections.states()["answering"] == 0
    await until(lambda: client.written)


async def test_a_flood_counts_as_refusals_for_credentials(context: Context) -> None:
    refusals = context.handler._engine.refusals
    before = refusals["credential"]
    await answer(context, "fast", "bad", FLOODER)
    assert refusals["credential"] == before + 1


async def test_a_flooder_that_disconnects_is_not_answered(context: Context) -> None:
    connection, client = FastPath(context), Client(FLOODER)
    connection.connection_made(client)
    connection.data_received(b"GET /messages?room=a HTTP/1.1\r\nAuthorization: Bearer bad\r\nHost: a\r\n\r\n")
    task = connection._task
    assert task
    await asyncio.sleep(0)
    connection.connection_lost(None)
    await until(task.done)
    assert task.cancelled()
    assert not client.written
