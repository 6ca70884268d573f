"""roomcast in a FastAPI program: streams at /live/messages?room=orders, the page at /live/?room=orders.
Everybody who reaches it can read and publish in every room; in fastapi_login.py a login decides.

It needs:      pip install . uvicorn fastapi
Run it:        uvicorn --app-dir examples --timeout-graceful-shutdown 5 fastapi_app:app
Publish to it: curl -X POST http://localhost:8000/orders/7/paid
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

import roomcast

live = roomcast.app(log="sqlite:live.db")
live.drain_on_signal()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with live:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/live", live)


@app.post("/orders/{number}/paid")
async def paid(number: int) -> dict[str, Any]:
    return await live.publish("orders", text=f"order {number} is paid")
