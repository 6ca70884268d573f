"""roomcast in a FastAPI program whose own session decides who reads what: /live/messages?room=user/7.

It needs:      pip install . uvicorn fastapi
Run it:        uvicorn --app-dir examples --timeout-graceful-shutdown 5 fastapi_login:app
Log in:        curl -c jar -X POST 'http://localhost:8000/login?name=anna&password=anna%20s'
Follow:        curl -b jar -N 'http://localhost:8000/live/messages?room=user/7'
Publish to it: curl -X POST http://localhost:8000/orders/12/paid?customer=7
"""

import secrets
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse
from starlette.requests import HTTPConnection

import roomcast
from roomcast.model.errors import LogUnavailable, RoomcastError

# In yours: tables, and passwords as your framework hashes them.
accounts = {("anna", "anna s"): 7, ("bert", "bert s"): 8}
sessions: dict[str, int] = {}


async def who(scope: MutableMapping[str, Any]) -> roomcast.Rights | None:
    user = sessions.get(HTTPConnection(scope).cookies.get("session", ""))
    if user is None:
        return None  # a stranger
    return roomcast.Rights(str(user), read=[f"user/{user}", "news"], publish=[f"chat/{user}"])


live = roomcast.app(log="sqlite:live.db", rights=who)
live.drain_on_signal()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with live:
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/live", live)


@app.post("/login")
async def login(name: str, password: str, response: Response) -> None:
    if (name, password) not in accounts:
        raise HTTPException(403)
    session = secrets.token_urlsafe()
    sessions[session] = accounts[name, password]
    response.set_cookie("session", session, httponly=True, samesite="lax")  # and secure=True, over TLS


@app.post("/orders/{number}/paid")
async def paid(number: int, customer: int) -> dict[str, Any]:
    return await live.publish(f"user/{customer}", text=f"order {number} is paid", idempotency_key=f"paid-{number}")


@app.exception_handler(RoomcastError)
async def refused(request: Request, error: RoomcastError) -> JSONResponse:
    later = {"Retry-After": str(error.retry_after)} if isinstance(error, LogUnavailable) else {}
    return JSONResponse({"detail": error.detail}, error.status, later)
