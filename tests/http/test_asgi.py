"""The bounds of a request that comes through somebody else's server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest

from roomcast.auth.guard import NO_GUARD
from roomcast.delivery.engine import Engine
from roomcast.http.asgi import AsgiApp
from roomcast.http.handler import Handler
from roomcast.log.base import Appended
from roomcast.model.settings import Settings
from tests.delivery.fakes import until

SCOPE = {"type": "http", "method": "POST", "path": "/messages", "client": ("127.0.0.1", 1)}
JSON = (b"content-type", b"application/json")


class Host:
    """A host's server, with a request whose body arrives as the test says."""

    def __init__(self, app: AsgiApp, *fields: tuple[bytes, bytes], scope: Mapping[str, Any] = SCOPE) -> None:
        self.sent: list[Any] = []
        self._pieces: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        whole = {**SCOPE, **scope, "headers": [JSON, *fields]}
        receive: Callable[[], Awaitable[dict[str, Any]]] = self._pieces.get
        self.serving = asyncio.create_task(app(whole, receive, self._send))

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    def body(self, piece: bytes, *, more: bool = True) -> None:
        self._pieces.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    def leave(self) -> None:
        self._pieces.put_nowait({"type": "http.disconnect"})

    @property
    def status(self) -> int | None:
        return self.sent[0]["status"] if self.sent else None


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = await Engine.open(Settings(log="memory:", body_memory=100_000))
    yield engine
    await engine.close()


async def test_point_5_the_slowest_body_is_refused_when_all_hold_too_much(engine: Engine) -> None:
    handler = Handler(engine, NO_GUARD)
    app = AsgiApp(handler)
    slow, fast = Host(app), Host(app)
    slow.body(b" " * 60_000)
    await until(lambda: handler.intake.held > 60_000)
    fast.body(b'{"room": "a", "text": "x"}' + b" " * 60_000)
    await until(lambda: slow.status)
    assert (slow.status, fast.status) == (503, None)
    fast.body(b"", more=False)
    await until(lambda: fast.status)
    assert fast.status == 201
    assert (handler.intake.held, engine.closed["memory"]) == (0, 1)
    await asyncio.gather(slow.serving, fast.serving)


async def test_point_2_more_fields_than_are_read_are_refused(engine: Engine) -> None:
    app = AsgiApp(Handler(engine, NO_GUARD))
    most = [(b"x-%d" % number, b"") for number in range(127)]
    for fields, status in ((most, 422), ([*most, (b"x", b"")], 431)):
        host = Host(app, *fields)
        host.body(b'{"room": "a"}', more=False)
        await until(lambda host=host: host.status)  # type: ignore[misc]
        assert host.status == status
        await host.serving


async def test_a_client_that_leaves_before_its_body_is_complete_has_no_answer(engine: Engine) -> None:
    host = Host(AsgiApp(Handler(engine, NO_GUARD)))
    host.body(b'{"room": "a", ')
    host.leave()
    await host.serving
    assert host.sent == []
    assert engine.hub.position == 0


async def test_a_publish_is_stored_though_the_host_has_cancelled_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    append, pending = engine.log.append, asyncio.Event()

    def late(*given: Any) -> asyncio.Future[Appended]:
        pending.set()
        return asyncio.ensure_future(_later(append(*given)))

    monkeypatch.setattr(engine.log, "append", late)
    host = Host(AsgiApp(Handler(engine, NO_GUARD)))
    host.body(b'{"room": "a", "text": "x"}', more=False)
    await pending.wait()
    host.serving.cancel()
    await until(lambda: engine.requests["POST", 201] == 1)
    assert (host.sent, engine.hub.position) == ([], 1)
    assert not [record for record in caplog.records if record.name == "asyncio"]


async def _later(appending: asyncio.Future[Appended]) -> Appended:
    await asyncio.sleep(0)
    return await appending


@pytest.mark.parametrize(("version", "closes"), [("1.1", True), ("2", False)])
async def test_only_a_stream_over_http_1_says_that_its_connection_ends(
    engine: Engine, version: str, closes: bool
) -> None:
    stream = {"method": "GET", "query_string": b"room=a", "http_version": version}
    host = Host(AsgiApp(Handler(engine, NO_GUARD)), scope=stream)
    await until(lambda: len(host.sent) > 1)
    assert ((b"connection", b"close") in host.sent[0]["headers"]) is closes
    host.leave()
    await host.serving
