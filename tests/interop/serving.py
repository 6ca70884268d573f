"""Event streams of other servers, for our client: of sse-starlette, and of FastAPI itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI, Header
from fastapi.sse import EventSourceResponse as FastAPIStream
from fastapi.sse import ServerSentEvent
from sse_starlette import EventSourceResponse, JSONServerSentEvent
from starlette.responses import Response

app = FastAPI()
LAST = 6
"""The stream's last number; each connection gives two."""


def _after(last_event_id: str | None) -> range:
    first = int(last_event_id or 0) + 1
    return range(first, min(first + 2, LAST + 1))


@app.get("/sse-starlette")
async def with_sse_starlette(last_event_id: str | None = Header(None)) -> Response:
    numbers = _after(last_event_id)
    if not numbers:
        return Response(status_code=204)

    async def events() -> AsyncIterator[JSONServerSentEvent]:
        for n in numbers:
            yield JSONServerSentEvent({"n": n, "text": "ä\u2028€"}, event="number", id=str(n), retry=10)
            await asyncio.sleep(0)

    return EventSourceResponse(events(), sep="\r\n")


@app.get("/fastapi", response_class=FastAPIStream)
async def with_fastapi(last_event_id: str | None = Header(None)) -> AsyncIterator[ServerSentEvent]:
    for n in _after(last_event_id):
        yield ServerSentEvent(data={"n": n, "text": "ä\u2028€"}, event="number", id=str(n), retry=10)
        await asyncio.sleep(0)
