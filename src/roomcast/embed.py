"""roomcast inside a host application: an ASGI application that also publishes by method calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterable
from contextvars import Context
from types import FrameType, TracebackType
from typing import Any

import msgspec
from msgspec import UNSET

from roomcast.api import delete as deleting
from roomcast.api.publish import Envelope, checked_key, stored, submit
from roomcast.app_settings import AppSettings
from roomcast.auth.guard import Guard, Mode
from roomcast.auth.principal import EVERYBODY as HOST
from roomcast.delivery.engine import DRAIN_SECONDS, Engine
from roomcast.http.all_routes import ROUTES, routes_in
from roomcast.http.asgi import AsgiApp, Scope
from roomcast.http.asgi_sink import Receive, Send
from roomcast.http.handler import Handler
from roomcast.http.host_login import HostLogin
from roomcast.model import draft
from roomcast.model.errors import Fault, Invalid

_ELSEWHERE = (
    "this roomcast belongs to another event loop: call it there, from a thread by "
    "asyncio.run_coroutine_threadsafe(...); if loops follow one another, enter `async with live:` in each"
)

logger: logging.Logger = logging.getLogger("roomcast.server")


class Embedded:
    """A server without sockets. It is open inside `async with live:`, or from its first use on. It belongs to the
    event loop it was opened in: calls from another loop raise `RuntimeError`."""

    def __init__(self, settings: AppSettings) -> None:
        self._settings = settings
        self._routes = ROUTES if settings.routes is None else routes_in(settings.routes)
        self._loop: asyncio.AbstractEventLoop | None = None
        """The loop it was opened in."""
        self._opening: asyncio.Task[Engine] | None = None
        """Its result is the engine. The engine is kept after closing, to send followers away; it stores nothing
        then."""
        self._app: AsgiApp | None = None
        self._guard: Guard | None = None
        self._closed = False
        self._signals: tuple[int, ...] = ()
        """The signals that drain it while it is open."""
        self._restore_handlers: list[Callable[[], None]] = []
        """Functions that restore the signals' former handlers."""

    async def publish(
        self,
        room: str,
        *,
        text: str | None = None,
        user: str = "anonymous",
        type: str | None = None,
        data: Any = UNSET,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Publishes a message, and returns when it is durable.

        `room` and `user` have 1 to 128 characters, `idempotency_key` has 1 to 128 visible ASCII characters, `type`
        has 1 to 64 characters; `data` is any JSON value. `text`, `data` or both are required. A repeated call with
        the same `idempotency_key` and message stores nothing and returns the first message.

            stored = await live.publish("orders", text="order 12 is paid")

        Returns the stored message: a dictionary with `id`, `room`, `user` and `timestamp` (RFC 3339), and with
        `text`, `data` and `type` if they were given.

        Raises errors of `roomcast.model.errors`, all of them `RoomcastError`: `Invalid` for a wrong field,
        `Malformed` for `data` nested deeper than 100 levels, `TooLarge`, `KeyReused` if the key was used for
        another message, and `LogUnavailable` if the log cannot take it now or is closed. Raises `RuntimeError` in
        another event loop."""
        engine = await self._engine()
        given = {"room": room, "text": text, "user": user, "type": type}
        fields = {name: value for name, value in given.items() if value is not None}
        if data is not UNSET:
            fields["data"] = data
        key = None if idempotency_key is None else checked_key(idempotency_key)
        began = time.perf_counter()
        appending, batch = submit(
            engine, Envelope(draft.parse_json, draft.json_steps, b"call"), HOST, _encoded(fields), key
        )
        await appending
        return dict(msgspec.json.decode(stored(engine, batch, began, appending)[2]))

    async def delete(self, message: str | None = None, *, room: str | None = None) -> None:
        """Deletes a message by its id, or all messages of a `room`; returns when that is durable.

        Raises `TypeError` unless exactly one of them is given. Raises errors of `roomcast.model.errors`:
        `NotFound` if there never was such a message, `Gone` if it is no longer retained, `Invalid` for a name that
        no room can have, `NotOffered` if the log is in MongoDB, and `LogUnavailable`."""
        if (message is None) == (room is None):
            raise TypeError("delete one message by its id, or one room: delete(id) or delete(room=name)")
        engine = await self._engine()
        if room is not None:
            await deleting.delete_room(engine, deleting.checked_room(room))
        else:
            await deleting.delete_message(engine, str(message))

    async def drain(self) -> None:
        """Ends every stream, and each new one, by telling its client to reconnect: with a `retry:` line, or in
        NDJSON with a `retry` event. Returns when all clients have read it; after 3 s it cuts the connections of
        those that have not."""
        if self._opening:
            engine = await self._engine()
            await engine.drain()
            await engine.streams.flushed(DRAIN_SECONDS)

    def drain_on_signal(self, signals: Iterable[int] = (signal.SIGTERM, signal.SIGINT)) -> None:
        """Drains when one of these signals arrives while this is open, and then calls the host's own handler.

        Without it, a server that waits for open responses before it ends, such as uvicorn, would wait for ever.
        Call it at any time, once or more: the handlers are set when this opens, after the host has set its own. It
        works in the main thread only; in another thread a warning is logged."""
        self._signals = tuple(signals)
        if self._opening and self._opening.done() and not self._closed:
            self._release_signals()
            self._take_signals()

    async def __aenter__(self) -> Embedded:
        if self._closed:
            self._opening, self._closed = None, False
        await self._engine()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._opening and not self._closed:
            engine = await self._engine()
            self._closed = True
            self._release_signals()
            try:
                await self.drain()
            finally:  # also if the host cancels it
                if self._guard:
                    self._guard.stop_fetching()
                await engine.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Frameworks do not run the lifespan of a mounted application; a server runs that of the top one."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._engine()
            assert self._app
            await self._app(scope, receive, send)
        else:
            with contextlib.suppress(Exception):
                await receive()
            await send({"type": "websocket.close", "code": 1000})

    async def _engine(self) -> Engine:
        """The engine, opened by the first caller. Cancelling that caller does not cancel the opening."""
        loop = asyncio.get_running_loop()
        if self._opening is None:
            self._loop = loop
            # In a new context: the engine's tasks must not keep the first request's context alive.
            self._opening = loop.create_task(self._open(), context=Context())
        if loop is not self._loop:
            raise RuntimeError(_ELSEWHERE)
        return await asyncio.shield(self._opening)

    async def _open(self) -> Engine:
        try:
            unconfigured = Mode.OPEN if self._settings.rights is None else Mode.RIGHTS
            guard = await asyncio.to_thread(Guard.of, self._settings, unconfigured)
            engine = await Engine.open(self._settings)
            try:
                await engine.enforce(guard)
            except BaseException:  # a log left open looks like an unclean stop
                await engine.close()
                raise
        except BaseException:
            self._opening = None
            raise
        guard.start_fetching()
        self._guard = guard
        rights = self._settings.rights
        host = HostLogin(rights, self._settings.allow_origin or ()) if rights else None
        self._app = AsgiApp(Handler(engine, guard, self._routes), host)
        self._take_signals()
        return engine

    def _take_signals(self) -> None:
        if self._signals and threading.current_thread() is not threading.main_thread():
            logger.warning("drain_on_signal works in the main thread only: await live.drain() before the end")
            return
        self._restore_handlers = [_chain(number, self._drain_soon) for number in self._signals]

    def _release_signals(self) -> None:
        while self._restore_handlers:
            self._restore_handlers.pop()()

    def _drain_soon(self) -> None:
        if self._loop and not self._loop.is_closed():
            asyncio.run_coroutine_threadsafe(self.drain(), self._loop)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.__aenter__()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})


def _chain(number: int, first: Callable[[], None]) -> Callable[[], None]:
    """Calls `first` at this signal, then the former handler. Returns a function that restores the former
    handler."""
    former = signal.getsignal(number)
    if former in (signal.SIG_IGN, None):
        return lambda: None  # an ignored signal does not end the program, so it must not drain

    def handle(signum: int, frame: FrameType | None) -> None:
        first()
        if callable(former):
            former(signum, frame)
        else:
            signal.signal(signum, former)
            signal.raise_signal(signum)

    def restore() -> None:
        if signal.getsignal(number) is handle:
            signal.signal(number, former)

    signal.signal(number, handle)
    return restore


def _encoded(fields: dict[str, Any]) -> bytes:
    """The fields as JSON. Not by msgspec, which turns NaN into null: a value that JSON lacks must be refused."""
    try:
        return json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        detail = f"cannot be written as JSON: {error}"
        raise Invalid(f"the message {detail}", [Fault("", detail)]) from None
