"""Sockets, signals and the HTTP server around a engine: `roomcast serve`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import resource
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import uvicorn

from roomcast.delivery.engine import DRAIN_SECONDS, Engine
from roomcast.http.app import App
from roomcast.http.front import Front
from roomcast.http.http1 import HttpProtocol
from roomcast.http.write_batch import WriteBatch
from roomcast.model.errors import CannotStart
from roomcast.model.settings import Settings

_SNDBUF = 64 * 1024
"""Per connection; the kernel would let it grow to 4.3 MB for a client that never reads, as measured."""
_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
_KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s for which nginx and most clients keep a connection: the side that uses it closes it."""
_TICKS_A_LOOK = 50
_FEWEST_FILES = 64
"""With some 20 it begins to start, and then fails anywhere."""

Started = Callable[[Engine], Awaitable[None]]


class Listening(NamedTuple):
    """The sockets of one port."""

    sockets: Sequence[socket.socket]
    port: int


class Server(uvicorn.Server):
    """uvicorn's server, without its signals and with a look at slow requests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answering = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answering.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours: uvicorn would close the listeners before the streams, and raise the signal again at the end."""
        yield

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_A_LOOK == 0:
            for connection in list(self.server_state.connections):
                if isinstance(connection, Front | HttpProtocol):
                    connection.expire()
        return await super().on_tick(counter)


async def serve(settings: Settings, listening: Sequence[Listening], started: Started) -> None:
    """Runs until a signal; `started` is awaited when requests are answered. Raises `CannotStart`."""
    stop = _signalled()
    opening = asyncio.create_task(Engine.open(settings))
    either: set[asyncio.Future[Any]] = {opening, stop}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        opening.cancel()
        return
    engine = opening.result()
    server = Server(_config(engine))
    running = asyncio.create_task(server.serve([s for port in listening for s in port.sockets]))
    answering = asyncio.create_task(server.answering.wait())
    await asyncio.wait({running, answering}, return_when=asyncio.FIRST_COMPLETED)
    if answering.done():
        # What is there now stays for good: it need not be looked at whenever garbage is collected.
        gc.freeze()
        await started(engine)
        await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
    answering.cancel()
    await engine.drain()
    await engine.streams.flushed(DRAIN_SECONDS)
    server.should_exit = True
    try:
        await running
    except OSError as error:
        raise CannotStart(
            f"connections cannot be taken ({error.strerror}): see to that, and start again"
        ) from error
    finally:
        await engine.close()


def _config(engine: Engine) -> uvicorn.Config:
    app = App(engine)
    return uvicorn.Config(
        app,
        http=partial(Front, app.direct, WriteBatch()),  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=4096,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=3,
    )


def _signalled() -> asyncio.Future[None]:
    """Done at the first SIGTERM or SIGINT; the second ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = loop.create_future()

    def handle(number: int) -> None:
        if stop.done():
            os._exit(128 + number)
        stop.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, handle, number)
    return stop


def raise_file_limit() -> None:
    """A connection is a file: takes what the process may have. Raises `CannotStart` where that is hardly any."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= hard < _FEWEST_FILES:  # -1 is no limit
        raise CannotStart(f"only {hard} files may be open at once: allow more, such as by ulimit -n 65536")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def bind(host: str, port: int, slow_after: float, option: str) -> Listening:
    """Listens on all addresses that `host` names, on one port number. Raises `CannotStart`, with the `option` that
    changes the port."""
    addresses = _addresses(host)
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            sockets.append(_bound(family, address, port, slow_after))
            port = sockets[-1].getsockname()[1]
    except OSError as error:
        for bound in sockets:
            bound.close()
        raise CannotStart(_why(error, host, port, option)) from None
    return Listening(sockets, port)


def _addresses(host: str) -> Sequence[tuple[int, str]]:
    """Not the hosts file's word for localhost: on many machines it knows only one of the two."""
    if host == "localhost":
        return [(socket.AF_INET, "127.0.0.1"), *([(socket.AF_INET6, "::1")] if _has_ipv6() else [])]
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotStart(f"--host {host} is not known ({error.strerror}): use localhost or 0.0.0.0") from None
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _bound(family: int, address: str, port: int, slow_after: float) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Set on the listener, these are inherited by each connection, at no call's cost.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SNDBUF)
        if _TCP_USER_TIMEOUT is not None:
            bound.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, int(slow_after * 1000))
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
        bound.listen(4096)  # only a listening socket is refused to a second server
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def _why(error: OSError, host: str, port: int, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        what_to_do = f"stop it, or choose another port with {option}"
        return f"port {port} on {host} is taken by another program: {what_to_do}"
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this user: choose one from 1024 on with {option}"
    return f"cannot listen on {host} port {port} ({error.strerror}): use localhost or 0.0.0.0"
