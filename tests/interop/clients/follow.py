"""Follows a stream with one of several Python clients, as its README shows: `follow.py CLIENT URL`. Prints each
event as a line of JSON: its type, id and data."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def show(*event: Any) -> None:
    print(json.dumps(event), flush=True)


def module(name: str) -> Any:
    """Imports a module by its name: two of the packages have the same module, and none is installed for the
    tests."""
    return import_module(name)


def with_httpx_sse(url: str) -> None:
    httpx, httpx_sse = module("httpx"), module("httpx_sse")
    with httpx.Client(timeout=None) as client, httpx_sse.connect_sse(client, "GET", url) as source:
        for event in source.iter_sse():
            show(event.event, event.id, event.data)


def with_sseclient_py(url: str) -> None:
    requests, sseclient = module("requests"), module("sseclient")
    for event in sseclient.SSEClient(requests.get(url, stream=True, timeout=60)).events():
        show(event.event, event.id, event.data)


def with_sseclient(url: str) -> None:
    sseclient = module("sseclient")
    for event in sseclient.SSEClient(url):
        show(event.event, event.id, event.data)


def with_requests(url: str) -> None:
    requests = module("requests")
    id = ""
    response = requests.get(url, stream=True, timeout=60)
    for line in response.iter_lines(decode_unicode=True, chunk_size=1):
        field, _, value = line.partition(": ")
        if field == "id":
            id = value
        elif field == "data":
            show("", id, value)


def with_aiohttp_sse_client(url: str) -> None:
    EventSource = module("aiohttp_sse_client.client").EventSource  # noqa: N806

    async def follow() -> None:
        async with EventSource(url, timeout=None) as source:
            async for event in source:
                show(event.type, event.last_event_id, event.data)

    asyncio.run(follow())


def with_launchdarkly(url: str) -> None:
    client = module("ld_eventsource").SSEClient(
        connect=module("ld_eventsource.config").ConnectStrategy.http(url),
        error_strategy=module("ld_eventsource.config").ErrorStrategy.always_continue(),
    )
    for event in client.events:
        show(event.event, event.last_event_id, event.data)


CLIENTS: dict[str, Callable[[str], None]] = {
    "httpx-sse": with_httpx_sse,
    "sseclient-py": with_sseclient_py,
    "sseclient": with_sseclient,
    "requests": with_requests,
    "aiohttp-sse-client": with_aiohttp_sse_client,
    "launchdarkly-eventsource": with_launchdarkly,
}

if __name__ == "__main__":
    CLIENTS[sys.argv[1]](sys.argv[2])
