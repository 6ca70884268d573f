"""roomcast in a Starlette program: streams at /live/messages?room=orders, the page at /live/?room=orders.
Everybody who reaches it can read and publish in every room; in fastapi_login.py a login decides.

It needs:      pip install . uvicorn starlette
Run it:        uvicorn --app-dir examples --timeout-graceful-shutdown 5 starlette_app:app
Publish to it: curl -X POST http://localhost:8000/orders/7/paid
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

import roomcast

live = roomcast.app(log="sqlite:live.db")
live.drain_on_signal()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with live:
        yield


async def paid(request: Request) -> JSONResponse:
    number = request.path_params["number"]
    return JSONResponse(await live.publish("orders", text=f"order {number} is paid"))


app = Starlette(
    routes=[Route("/orders/{number:int}/paid", paid, methods=["POST"]), Mount("/live", live)], lifespan=lifespan
)
