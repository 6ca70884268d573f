"""sse-starlette under uvicorn, as its documentation shows it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.servers.audience import Audience

audience: Audience[str] = Audience()
numbers = itertools.count(1)


async def _follow(request: Request) -> EventSourceResponse:
    async def messages() -> AsyncIterator[ServerSentEvent]:
        with audience.joined(request.query_params["room"]) as queue:
            while True:
                yield ServerSentEvent(data=await queue.get(), id=str(next(numbers)))

    return EventSourceResponse(messages())


async def _publish(request: Request) -> Response:
    audience.tell(request.query_params["room"], (await request.body()).decode())
    return Response(status_code=201)


app = Starlette(
    routes=[Route("/messages", _follow, methods=["GET"]), Route("/messages", _publish, methods=["POST"])]
)
