"""A running server: an engine, the connections it serves, and the order in which they begin and end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from socket import AF_UNIX, socket
from typing import Any

from roomcast import tasks
from roomcast.auth.guard import Guard
from roomcast.delivery.engine import DRAIN_SECONDS, Engine
from roomcast.http.context import Context
from roomcast.http.fast_path import FastPath
from roomcast.http.handler import Handler
from roomcast.model.errors import CannotStart
from roomcast.serve.listen import BACKLOG, Endpoint
from roomcast.serve.systemd import STOPPING, tell
from roomcast.serve.tls_listener import TlsListener

_ANSWER_SECONDS = 3.0
"""How long pending requests may still take when the server ends."""

Started = Callable[[Engine], Awaitable[None]]


async def serve(
    open_engine: Coroutine[Any, Any, Engine],
    stop: asyncio.Future[None],
    endpoints: Sequence[Endpoint],
    guard: Guard,
    started: Started,
    tls: ssl.SSLContext | None = None,
) -> None:
    """Serves the engine that `open_engine` opens, on the sockets of `endpoints`, until `stop` is done.

    `guard` decides over each request, and fetches its issuers' keys meanwhile. `started` is awaited once the
    sockets accept connections. With `tls` every connection is encrypted. Raises `CannotStart`."""
    guard.start_fetching()
    try:
        await _opened(open_engine, stop, endpoints, guard, started, tls)
    finally:
        guard.stop_fetching()


async def _opened(
    open_engine: Coroutine[Any, Any, Engine],
    stop: asyncio.Future[None],
    endpoints: Sequence[Endpoint],
    guard: Guard,
    started: Started,
    tls: ssl.SSLContext | None,
) -> None:
    opening = asyncio.create_task(open_engine)
    either: set[asyncio.Future[Any]] = {opening, stop}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        opening.cancel()
        return
    engine = opening.result()
    try:
        await engine.enforce(guard)
        await _serve(Context(Handler(engine, guard), engine), engine, endpoints, started, stop, tls)
    finally:
        await engine.close()


async def _serve(
    context: Context,
    engine: Engine,
    endpoints: Sequence[Endpoint],
    started: Started,
    stop: asyncio.Future[None],
    tls: ssl.SSLContext | None,
) -> None:
    watching = asyncio.create_task(context.watch())
    servers: list[asyncio.Server | TlsListener] = []
    try:
        for listener in (one for endpoint in endpoints for one in endpoint.sockets):
            servers.append(await _accept(context, listener, tls))
        # The objects that exist now live for ever, so the garbage collector need not visit them.
        gc.freeze()
        await started(engine)
        await stop
        await tell(STOPPING)
    finally:
        # The listeners stay open until the streams have ended: a client that reconnects is told when to retry.
        await engine.drain()
        await engine.streams.flushed(DRAIN_SECONDS)
        for server in servers:
            server.close()
        await context.drain(_ANSWER_SECONDS)
        await tasks.cancel([watching])


async def _accept(context: Context, listener: socket, tls: ssl.SSLContext | None) -> asyncio.Server | TlsListener:
    loop = asyncio.get_running_loop()
    create = loop.create_unix_server if listener.family == AF_UNIX else loop.create_server
    try:
        if tls:
            return TlsListener(context, listener, tls)
        return await create(lambda: FastPath(context), sock=listener, backlog=BACKLOG)
    except OSError as error:
        raise CannotStart(
            f"cannot accept connections ({error.strerror}): resolve that, and start again"
        ) from error


def signalled() -> asyncio.Future[None]:
    """A future that is done at the first SIGTERM or SIGINT. A second signal ends the process at once. The
    supervisor's order may also complete it. A terminal sends a signal to the supervisor and to this process: the
    order and the signal together count once."""
    loop = asyncio.get_running_loop()
    stop = loop.create_future()
    signals = 0

    def handle(number: int) -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            os._exit(128 + number)
        if not stop.done():
            stop.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)
    return stop
