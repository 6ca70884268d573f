"""The routes, and the only place where an error becomes an answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import quote

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from roomcast.api import history, openapi
from roomcast.api import query as queries
from roomcast.api.follow import follow
from roomcast.api.publish import publish
from roomcast.delivery.engine import Engine
from roomcast.http import access, page
from roomcast.http.cors import Cors
from roomcast.http.direct import Direct
from roomcast.http.metrics import metrics
from roomcast.http.problem import problem
from roomcast.model.errors import MethodNotAllowed, NotFound, RoomcastError
from roomcast.version import __version__

Handler = Callable[[Engine, Request], Awaitable[Response]]

logger = logging.getLogger("roomcast.server")


async def messages(engine: Engine, request: Request) -> Response:
    """The messages of some rooms, as a stream or as a page."""
    format = queries.preferred(", ".join(request.headers.getlist("accept")))
    last_event_id = request.headers.get("last-event-id", "").encode("latin-1").decode(errors="replace")
    query = queries.query(request.scope["query_string"], last_event_id)
    if format == queries.PAGE:
        response = await history.page(engine, request, query)
    else:
        response = await follow(engine, request, query, format)
    response.raw_headers.append((b"vary", b"Accept"))
    return response


async def healthz(engine: Engine, request: Request) -> Response:
    """The process answers."""
    return _json({"status": "ok", "version": __version__})


async def readyz(engine: Engine, request: Request) -> Response:
    """The log answers and the tail is current; else 503 and why not. A log that cannot be written is no reason to
    send followers away, so that is only said: a full disk would be an outage for them, too."""
    why_not = await engine.ready()
    if why_not:
        return _json({"status": "unavailable", "detail": why_not}, 503)
    unwritable = engine.log.unwritable
    position = f"{engine.log.epoch}-{engine.hub.position}"
    detail = {"detail": unwritable} if unwritable else {}
    return _json({"status": "ok", "position": position, "writable": not unwritable, **detail})


async def describe(engine: Engine, request: Request) -> Response:
    """What this API takes and gives, as OpenAPI 3.1."""
    return _json(openapi.document(quote(request.scope.get("root_path", ""))))


ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "/messages": {"GET": messages, "POST": publish},
    "/messages/{id}": {"GET": history.message},
    "/rooms": {"GET": history.rooms},
    "/healthz": {"GET": healthz},
    "/readyz": {"GET": readyz},
    "/metrics": {"GET": metrics},
    "/openapi.json": {"GET": describe},
    "/": {"GET": page.index},
    "/roomcast.js": {"GET": page.module},
    "/page/{name}": {"GET": page.asset},
}


class App:
    """The API and the page of one engine, as an ASGI application."""

    def __init__(self, engine: Engine) -> None:
        cors = Cors(engine.settings.allow_origin)
        routes = [Route(path, Endpoint(engine, cors, handlers)) for path, handlers in ROUTES.items()]
        self.direct = Direct(engine, cors)
        """What the server's protocol may ask before it goes the way through ASGI."""
        self._router = Router(routes, redirect_slashes=False, default=Endpoint(engine, cors, {}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._router(scope, receive, send)


class Endpoint:
    """One path: what its methods do, errors as answers, CORS, and a line in the log."""

    def __init__(self, engine: Engine, cors: Cors, handlers: Mapping[str, Handler]) -> None:
        self._engine = engine
        self._cors = cors
        self._handlers = dict(handlers)
        if "GET" in handlers:
            self._handlers["HEAD"] = handlers["GET"]
        self._methods = [*self._handlers, "OPTIONS"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        began = time.perf_counter()
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        response.raw_headers += self._cors.headers(request.headers.get("origin"))
        self._engine.requests[request.method, response.status_code] += 1
        if access.noted():
            self._note(scope, response.status_code, time.perf_counter() - began)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            if request.method == "OPTIONS" and self._handlers:
                return self._options()
            return await self._handler(request.method)(self._engine, request)
        except RoomcastError as error:
            # RFC 9110, section 10.1.1: whether an expected body still comes is open, so the connection ends here.
            return problem(error, closing="expect" in request.headers)
        except (ClientDisconnect, asyncio.CancelledError):
            raise
        except Exception:
            logger.exception("%s %r failed", request.method, request.scope["path"])
            return problem(RoomcastError("see the server's log"))

    def _handler(self, method: str) -> Handler:
        if not self._handlers:
            raise NotFound(f"this server has {', '.join(ROUTES)}")
        if method not in self._handlers:
            raise MethodNotAllowed(f"use {', '.join(self._methods)}", self._methods)
        return self._handlers[method]

    def _options(self) -> Response:
        headers = self._cors.preflight(self._methods)
        return Response(status_code=204, headers={"allow": ", ".join(self._methods), **headers})

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        client = scope["client"][0] if scope.get("client") else "-"
        target = scope.get("raw_path") or scope["path"].encode()
        if scope["query_string"]:
            target += b"?" + scope["query_string"]
        access.note(client, scope["method"], target, status, seconds)


def _json(value: object, status: int = 200) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(msgspec.json.encode(value), status, headers, "application/json")
