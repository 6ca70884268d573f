"""Clients that we did not write follow a stream, over a restart of the server."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
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
from tests.conftest import Serve, require
from tests.interop.serving import LAST
from tests.running import PATIENCE, Running, start_uvicorn

ROOT = Path(__file__).parents[2]
PAID: dict[str, Any] = {"type": "order.paid", "data": {"order": 7}}


@contextmanager
def follow(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A program that is read as it comes. It is ended where it takes too long: a line that never comes would be
    waited for without end."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        ending = threading.Timer(3 * PATIENCE, process.kill)
        ending.start()
        try:
            yield process
        finally:
            ending.cancel()
            process.kill()


def test_curl_shows_history_and_then_each_message_at_once(server: Running) -> None:
    curl = require("curl")
    first = server.publish("a")
    url = f"{server.url}/messages?room=developers"
    with follow(curl, "--silent", "--no-buffer", "--max-time", str(PATIENCE), url) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(4)]
        assert lines == ["retry: 3000\n", f"id: {first['id']}\n", f"data: {_compact(first)}\n", "\n"]
        assert [process.stdout.readline() for _ in range(4)][1] == "event: live\n"
        second = server.publish("b", **PAID)
        lines = [process.stdout.readline() for _ in range(4)]
        assert lines == [f"id: {second['id']}\n", "event: order.paid\n", f"data: {_compact(second)}\n", "\n"]
        assert server.terminate() == 0
        assert process.stdout.read().startswith("retry: ")
        assert process.wait(PATIENCE) == 0  # a clean end: 18 would be a cut transfer


def test_httpx_sse_reads_it(server: Running) -> None:
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


def test_sseclient_py_reads_it(server: Running) -> None:
    stored = [server.publish("a"), server.publish("b\nc\u2028", **PAID)]
    url = f"{server.url}/messages?room=developers"
    with httpx.stream("GET", url, timeout=PATIENCE) as response:
        events = sseclient.SSEClient(response.iter_bytes()).events()
        seen = [next(events) for _ in range(3)]
        assert [event.event for event in seen] == ["message", "order.paid", "live"]
        assert [json.loads(event.data) for event in seen[:2]] == stored
        assert [event.id for event in seen] == [stored[0]["id"], stored[1]["id"], stored[1]["id"]]
        assert seen[0].retry == "3000"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # its own, of aiohttp
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
            assert [_numbers(event) for _, event in zip(expected, source, strict=False)] == expected
        async with aconnect(url) as following:
            assert [_numbers(await anext(following)) for _ in expected] == expected
            if framework == "sse-starlette":  # it says when it is over
                assert [event async for event in following] == []
    finally:
        server.kill()


def _numbers(event: Any) -> Event:
    said = json.loads(event.data)
    assert said["text"] == "ä\u2028€"
    return Event(event.type, json.dumps(said["n"]), event.id)


def test_npm_eventsource_resumes_over_a_restart(serve: Serve) -> None:
    server = serve()
    node = require("node")
    script = Path(__file__).with_name("follow.mjs")
    stored = [server.publish("a")]
    with follow(node, str(script), f"{server.url}/messages?room=developers") as process:
        assert [name for name, *_ in _rows(process, 2)] == ["message", "live"]
        server.kill()
        assert next(_rows(process, 1)) == ["error", 0]
        again = serve(f"--port={server.port}")
        stored += [again.publish("b"), again.publish("c", **PAID)]
        seen: list[Any] = []
        while len(seen) < 3:
            row = next(_rows(process, 1))
            if row[0] != "error":
                seen.append(row)
        assert seen[:2] == [
            ["message", stored[1]["id"], stored[1]],
            ["order.paid", stored[2]["id"], stored[2]],
        ]
        assert seen[2] == ["live", stored[2]["id"], {"replayed": 2}]


def _rows(process: subprocess.Popen[str], count: int) -> Iterator[Any]:
    assert process.stdout
    for _ in range(count):
        yield json.loads(process.stdout.readline())


def _compact(message: dict[str, Any]) -> str:
    order = ["id", "room", "user", "text", "type", "data", "timestamp"]
    return json.dumps({k: message[k] for k in order if k in message}, separators=(",", ":"))
