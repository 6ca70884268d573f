"""The options of `roomcast.app(...)` are those of the settings, for type checkers and at the call."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import MutableMapping
from dataclasses import fields
from typing import Any, assert_type

import httpx
import pytest

import roomcast
from roomcast.app_settings import AppSettings
from roomcast.auth.guard import Guard
from roomcast.delivery.engine import Engine
from roomcast.embed import Embedded
from roomcast.model.errors import BadOption, Gone, Invalid, NotFound
from roomcast.model.settings import Settings
from roomcast.tasks import cancel
from tests.delivery.fakes import FakeConnection, follow


def test_a_mistyped_option_fails_under_mypy_and_at_the_call_with_the_one_that_was_meant() -> None:
    """mypy checks the same: it reports a `type: ignore` that ignores nothing."""
    with pytest.raises(TypeError, match=r"'max_mesages' is not an option: did you mean max_messages\?"):
        roomcast.app(max_mesages=3)  # type: ignore[call-arg]
    with pytest.raises(BadOption, match="port must be a whole number from 0 to 65535"):
        roomcast.app(port="8080")  # type: ignore[arg-type]


def test_each_option_of_the_settings_is_a_typed_keyword() -> None:
    live = roomcast.app(log="memory:", max_messages=3, heartbeat=5, access_log=False, allow_origin=())
    assert_type(live, Embedded)
    assert list(inspect.signature(roomcast.app).parameters) == [field.name for field in fields(AppSettings)]


def test_a_programs_own_options_are_typed_as_well() -> None:
    async def who(scope: MutableMapping[str, Any]) -> roomcast.Rights | None:
        return roomcast.Rights("anna", read=["news"])

    assert_type(roomcast.app(log="memory:", rights=who, routes=("follow", "publish")), Embedded)
    with pytest.raises(TypeError, match=r"'rigths' is not an option: did you mean rights\?"):
        roomcast.app(rigths=who)  # type: ignore[call-arg]
    with pytest.raises(BadOption, match="'folow' is no group of routes: did you mean follow"):
        roomcast.app(routes=("folow",))  # type: ignore[arg-type]
    roomcast.app(rights=lambda scope: None)  # type: ignore[arg-type,return-value]


def test_rights_are_given_at_the_call_as_well() -> None:
    key = roomcast.Key(name="shop", sha256="0" * 64, read=("*",))
    live = roomcast.app(log="memory:", keys=(key,), anonymous=("read:public/*",), secret="x" * 40)
    assert_type(live, Embedded)
    assert Settings.of({"keys": [{"name": "shop", "sha256": "0" * 64, "read": ["*"]}]}).keys == (key,)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_messages": 0}, "max_messages must be a whole number from 1"),
        ({"heartbeat": float("nan")}, "heartbeat must be a time"),
        ({"max_bytes": True}, "max_bytes must be a size"),
        ({"allow_origin": "https://example.com"}, "allow_origin must be a list"),
        ({"allow_origin": ["example.com"]}, "did you mean https://example.com"),
        ({"keys": "shop"}, "key must be rows: write"),
        ({"keys": [{"name": "shop"}]}, "needs sha256"),
        ({"keys": [roomcast.Key(name="Shop", sha256="0" * 64, read=("*",))]}, "name must be 1 to 32 of"),
        ({"anonymous": ["read"]}, "anonymous must be read:GRANT or publish:GRANT"),
        ({"log": None}, "log must be text, not nothing"),
        ({"log": b"memory:"}, "log must be text, not a value of type bytes"),
    ],
)
def test_a_value_that_an_option_cannot_have_is_refused_at_the_call(options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadOption, match=words):
        roomcast.app(**options)


@pytest.mark.parametrize(
    ("options", "who"),
    [
        ({"host": "0.0.0.0"}, "the server that runs the app decides"),
        ({"port": 0}, "the server that runs the app decides"),
        ({"page_port": 0}, "the server that runs the app decides"),
        ({"workers": "auto"}, "the server that runs the app decides"),
        ({"tls_cert": "cert.pem"}, "the server that runs the app decides"),
        ({"tls_key": "key.pem"}, "the server that runs the app decides"),
        ({"max_connections_per_address": 5}, "the server that runs the app decides"),
        ({"log_format": "json"}, "the program's own logging decides"),
        ({"log_level": "debug"}, "the program's own logging decides"),
    ],
)
def test_an_option_that_can_have_no_effect_is_refused_unless_it_has_its_default(
    options: dict[str, Any], who: str
) -> None:
    [name] = options
    with pytest.raises(BadOption, match=f"{name} can have no effect in roomcast.app: {who}, so leave it out"):
        roomcast.app(**options)
    if (default := getattr(Settings(), name)) is not None:  # otherwise it is no value that can be given
        assert_type(roomcast.app(log="memory:", **{name: default}), Embedded)


@pytest.mark.parametrize("logs", [True, False])
async def test_without_the_access_log_no_record_of_requests_and_streams_is_made(
    logs: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with roomcast.app(log="memory:", access_log=logs) as live:
        transport = httpx.ASGITransport(live)
        async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
            await client.get("/healthz")
        engine = await live._engine()
        follow(engine.streams, FakeConnection()).end("client")
    lines = {record.name for record in caplog.records} & {"roomcast.access", "roomcast.streams"}
    assert lines == ({"roomcast.access", "roomcast.streams"} if logs else set())


async def test_a_program_deletes_a_message_and_a_room() -> None:
    async with roomcast.app(log="memory:") as live:
        first, second = [(await live.publish("orders", text=text))["id"] for text in ("one", "two")]
        await live.delete(first)
        with pytest.raises(Gone, match="no longer retained"):
            await live.delete(first)
        with pytest.raises(NotFound):
            await live.delete("abcd-99")
        await live.delete(room="orders")
        with pytest.raises(Gone):
            await live.delete(second)
        with pytest.raises(Invalid, match="room"):
            await live.delete(room="$orders")
        with pytest.raises(TypeError, match="one message by its id, or one room"):
            await live.delete()


@pytest.mark.parametrize("ending", ["fails", "is cancelled"])
async def test_an_opening_that_ends_while_revocations_are_read_leaves_no_log_open(
    ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading: asyncio.Future[Engine] = asyncio.get_running_loop().create_future()

    async def enforce(engine: Engine, guard: Guard) -> None:
        reading.set_result(engine)
        await asyncio.Future() if ending == "is cancelled" else 1 / 0

    monkeypatch.setattr(Engine, "enforce", enforce)
    before = asyncio.all_tasks()
    live = roomcast.app(log="memory:")
    publishing = asyncio.create_task(live.publish("orders", text="one"))
    engine = await reading
    if ending == "is cancelled":
        assert live._opening
        live._opening.cancel()
    await asyncio.gather(publishing, return_exceptions=True)
    assert asyncio.all_tasks() == before
    assert engine.draining
    assert live._opening is None


async def test_a_closing_that_is_cancelled_while_it_drains_closes_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    draining = asyncio.Event()

    async def drain() -> None:
        draining.set()
        await asyncio.Future()

    before = asyncio.all_tasks()
    live = roomcast.app(log="memory:")
    await live.__aenter__()
    monkeypatch.setattr(live, "drain", drain)
    closing = asyncio.create_task(live.__aexit__(None, None, None))
    await draining.wait()
    await cancel([closing])
    assert asyncio.all_tasks() == before
