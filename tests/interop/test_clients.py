"""Other people's clients follow a stream over a restart of the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
import pytest
import sseclient
from aiohttp_sse_client.client import EventSource as AiohttpEventSource

from roomcast.client.sse import Event, aconnect, connect
from tests.client.scripted import aside
from tests.conftest import Serve, require
from tests.interop.serving import LAST
from tests.running import PATIENCE, Running, start_uvicorn, wait_for

ROOT = Path(__file__).parents[2]
PAID: dict[str, Any] = {"type": "order.paid", "data": {"order": 7}}


NEVER = "--heartbeat=600"
"""Read time-out in seconds of a client that waits for a message that does not come."""


@contextmanager
def following(folder: Path, *command: str) -> Iterator[Running]:
    """Runs a program that prints a stream."""
    program = Running([*command], folder)
    try:
        yield program
    finally:
        program.kill()


def lines(program: Running, count: int) -> list[str]:
    """Waits for the first `count` lines of a program, and returns them."""
    wait_for(lambda: program.said().count("\n") >= count, f"{count} lines")
    return program.said().split("\n")[:count]


def test_curl_shows_history_and_then_each_message_at_once(server: Running, tmp_path: Path) -> None:
    curl = require("curl")
    first = server.publish("a")
    url = f"{server.url}/messages?room=developers"
    with following(tmp_path, curl, "--silent", "--no-buffer", url) as program:
        assert lines(program, 4) == ["retry: 3000", f"id: {first['id']}", f"data: {_compact(first)}", ""]
        assert lines(program, 8)[5] == "event: live"
        second = server.publish("b", **PAID)
        expected = [f"id: {second['id']}", "event: order.paid", f"data: {_compact(second)}", ""]
        assert lines(program, 12)[8:] == expected
        assert server.terminate() == 0
        assert lines(program, 13)[12].startswith("retry: ")
        assert program.process.wait(PATIENCE) == 0  # a clean end: 18 would be a cut transfer


def test_httpx_sse_reads_it(serve: Serve) -> None:
    server = serve(NEVER)
    stored = [server.publish("a"), server.publish("b\nc", **PAID)]
    with httpx.Client(timeout=PATIENCE) as client:
        url = f"{server.url}/messages?room=developers"
        with httpx_sse.connect_sse(client, "GET", url) as source:
            events = source.iter_sse()
            seen = [next(events) for _ in range(3)]
            assert [event.event for event in seen] == ["message", "order.paid", "live"]
            assert [json.loads(event.data) for event in seen[:2]] == stored
            assert [event.id for event in seen] == [stored[0]["id"], stored[1]["id"], stored[1]["id"]]
            assert seen[0].retry == 3000


def test_sseclient_py_reads_it(serve: Serve) -> None:
    server = serve(NEVER)
    stored = [server.publish("a"), server.publish("b\nc\u2028", **PAID)]
    url = f"{server.url}/messages?room=developers"
    with httpx.stream("GET", url, timeout=PATIENCE) as response:
        events = sseclient.SSEClient(response.iter_bytes()).events()
        seen = [next(events) for _ in range(3)]
        assert [event.event for event in seen] == ["message", "order.paid", "live"]
        assert [json.loads(event.data) for event in seen[:2]] == stored
        assert [event.id for event in seen] == [stored[0]["id"], stored[1]["id"], stored[1]["id"]]
        assert seen[0].retry == "3000"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a warning of aiohttp's
async def test_aiohttp_sse_client_reads_it(server: Running) -> None:
    stored = [server.publish("a"), server.publish("b\nc", **PAID)]
    url = f"{server.url}/messages?room=developers"
    async with asyncio.timeout(PATIENCE), AiohttpEventSource(url) as source:
        seen = [await anext(source) for _ in range(3)]
    assert [event.type for event in seen] == [None, "order.paid", "live"]
    assert [json.loads(event.data) for event in seen[:2]] == stored
    assert [event.last_event_id for event in seen] == [stored[0]["id"], stored[1]["id"], stored[1]["id"]]


@pytest.mark.parametrize("framework", ["sse-starlette", "fastapi"])
async def test_our_client_follows_and_resumes_what_other_servers_send(tmp_path: Path, framework: str) -> None:
    server = start_uvicorn(tmp_path, "tests.interop.serving:app", f"--app-dir={ROOT}")
    try:
        url = f"{server.url}/{framework}"
        expected = [Event("number", json.dumps(n), str(n)) for n in range(1, LAST + 1)]
        with connect(url) as source:
            reading = aside(lambda: [_numbers(event) for _, event in zip(expected, source, strict=False)])
            assert await asyncio.wait_for(asyncio.wrap_future(reading), PATIENCE) == expected
        async with asyncio.timeout(PATIENCE), aconnect(url) as events:
            assert [_numbers(await anext(events)) for _ in expected] == expected
            if framework == "sse-starlette":  # the stream ends by itself
                assert [event async for event in events] == []
    finally:
        server.kill()


def _numbers(event: Any) -> Event:
    said = json.loads(event.data)
    assert said["text"] == "ä\u2028€"
    return Event(event.type, json.dumps(said["n"]), event.id)


def test_npm_eventsource_resumes_over_a_restart(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    node = require("node")
    script = Path(__file__).with_name("follow.mjs")
    stored = [server.publish("a")]
    with following(tmp_path, node, str(script), f"{server.url}/messages?room=developers") as program:
        wait_for(lambda: [name for name, *_ in _rows(program)] == ["message", "live"], "the replay")
        server.kill()
        program.wait_until_it_says(r'\["error",0\]')
        again = serve(f"--port={server.port}")
        stored += [again.publish("b"), again.publish("c", **PAID)]
        wait_for(lambda: len(_messages(program)) == 3, "the message that came meanwhile")
        assert _messages(program) == [
            ["message", stored[0]["id"], stored[0]],
            ["message", stored[1]["id"], stored[1]],
            ["order.paid", stored[2]["id"], stored[2]],
        ]


def _rows(program: Running) -> list[Any]:
    """The events that the program's listeners got, without failed attempts."""
    whole = program.said().split("\n")[:-1]
    return [row for row in map(json.loads, whole) if row[0] != "error"]


def _messages(program: Running) -> list[Any]:
    return [row for row in _rows(program) if row[0] != "live"]


def _compact(message: dict[str, Any]) -> str:
    order = ["id", "room", "user", "text", "type", "data", "timestamp"]
    return json.dumps({k: message[k] for k in order if k in message}, separators=(",", ":"))
