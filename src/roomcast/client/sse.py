"""Any server's event stream, followed: `connect` and, for an event loop, `aconnect`.

    with connect("https://example.com/events") as source:
        for event in source:
            print(event.type, event.data, event.id)

It connects again and resumes by WHATWG HTML, section 9.2, until the server says that it is over (`204`, which
ends the loop), gives an answer that is no event stream (which raises), or the caller leaves. Each piece is read
when the caller asks for what is in it: in memory is what one read of the socket brought, and nothing is read
ahead.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Generator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar, overload

from roomcast.client.decode import MAX_BLOCK, Comment, Endless, Event
from roomcast.client.driver import AsyncDriver, Driver, OnOpen, OnPause
from roomcast.client.errors import Refused
from roomcast.client.http import Ask, AsyncGiven, AsyncHttp, Auth, Given, Headers, Http, Options, Proxy
from roomcast.client.source import Pause, Source

__all__ = [
    "AsyncEventSource",
    "Comment",
    "Endless",
    "Event",
    "EventSource",
    "Pause",
    "Refused",
    "aconnect",
    "connect",
]

Item = TypeVar("Item", bound=Event | Comment, covariant=True)
"""What comes: events, and comments where they are asked for."""


@overload
def connect(
    url: str,
    *,
    method: str = "GET",
    headers: Given[Headers | None] = None,
    body: bytes | str | None = None,
    auth: Given[Auth] = None,
    proxy: Given[Proxy] = None,
    last_event_id: str = "",
    retry: float = 3.0,
    max_delay: float = 3600.0,
    read_timeout: float | None = None,
    max_block: int = MAX_BLOCK,
    again_on: Collection[int] = (),
    comments: Literal[False] = False,
    on_open: OnOpen | None = None,
    on_pause: OnPause | None = None,
    **more: Any,
) -> EventSource[Event]: ...


@overload
def connect(url: str, *, comments: bool, **options: Any) -> EventSource[Event | Comment]: ...


def connect(
    url: str,
    *,
    method: str = "GET",
    headers: Given[Headers | None] = None,
    body: bytes | str | None = None,
    auth: Given[Auth] = None,
    proxy: Given[Proxy] = None,
    last_event_id: str = "",
    retry: float = 3.0,
    max_delay: float = 3600.0,
    read_timeout: float | None = None,
    max_block: int = MAX_BLOCK,
    again_on: Collection[int] = (),
    comments: bool = False,
    on_open: OnOpen | None = None,
    on_pause: OnPause | None = None,
    **more: Any,
) -> EventSource[Any]:
    """Follows an event stream.

    `headers`, `auth` (a bearer token, a pair, or what httpx takes) and `proxy` may be functions, called for each
    connection. `retry` is the pause in seconds until the server names one; no pause is longer than `max_delay`.
    `read_timeout`: seconds of silence after which a connection is dead; None for never, as the standard has it. A
    line or block of more than `max_block` bytes raises `Endless`. `again_on`: statuses, such as 502 and 503, that
    are taken for a failed connection; by the standard all are final. `comments`: give those as well. `on_open` is
    called with each stream's response, `on_pause` before each pause; what they raise ends the stream. `more` goes
    to httpx's client."""
    source = Source(
        last_event_id=last_event_id,
        retry=retry,
        max_delay=max_delay,
        max_block=max_block,
        again_on=again_on,
        read_timeout=read_timeout,
    )
    ask = Ask(method, url, body.encode() if isinstance(body, str) else body)
    http = Http(Options(headers, auth, proxy, more))
    return EventSource(http, ask, source, comments=comments, on_open=on_open, on_pause=on_pause, owner=True)


@overload
def aconnect(
    url: str,
    *,
    method: str = "GET",
    headers: AsyncGiven[Headers | None] = None,
    body: bytes | str | None = None,
    auth: AsyncGiven[Auth] = None,
    proxy: AsyncGiven[Proxy] = None,
    last_event_id: str = "",
    retry: float = 3.0,
    max_delay: float = 3600.0,
    read_timeout: float | None = None,
    max_block: int = MAX_BLOCK,
    again_on: Collection[int] = (),
    comments: Literal[False] = False,
    on_open: OnOpen | None = None,
    on_pause: OnPause | None = None,
    **more: Any,
) -> AsyncEventSource[Event]: ...


@overload
def aconnect(url: str, *, comments: bool, **options: Any) -> AsyncEventSource[Event | Comment]: ...


def aconnect(
    url: str,
    *,
    method: str = "GET",
    headers: AsyncGiven[Headers | None] = None,
    body: bytes | str | None = None,
    auth: AsyncGiven[Auth] = None,
    proxy: AsyncGiven[Proxy] = None,
    last_event_id: str = "",
    retry: float = 3.0,
    max_delay: float = 3600.0,
    read_timeout: float | None = None,
    max_block: int = MAX_BLOCK,
    again_on: Collection[int] = (),
    comments: bool = False,
    on_open: OnOpen | None = None,
    on_pause: OnPause | None = None,
    **more: Any,
) -> AsyncEventSource[Any]:
    """`connect` for an event loop: `async with`, `async for`. The functions for `headers`, `auth` and `proxy` may
    be coroutines."""
    source = Source(
        last_event_id=last_event_id,
        retry=retry,
        max_delay=max_delay,
        max_block=max_block,
        again_on=again_on,
        read_timeout=read_timeout,
    )
    ask = Ask(method, url, body.encode() if isinstance(body, str) else body)
    http = AsyncHttp(Options(headers, auth, proxy, more))
    return AsyncEventSource(http, ask, source, comments=comments, on_open=on_open, on_pause=on_pause, owner=True)


class EventSource(Generic[Item]):
    """An iterator over events, and comments where they are asked for. One thread iterates; any may `close` it."""

    def __init__(self, http: Http, ask: Ask, source: Source, *, owner: bool = False, **options: Any) -> None:
        self._driver = Driver(http, ask, source, **options)
        self._events: Generator[Item] = self._driver.run()
        self._owned = http if owner else None
        """The HTTP client that ends with this."""

    @property
    def last_event_id(self) -> str:
        """That of the last event taken: to go on from there another time."""
        return self._driver.source.last_event_id

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        try:
            return next(self._events)
        except ValueError:  # it is being closed, by another thread, just now
            if self._driver.closed:
                raise StopIteration from None
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the iteration, in whatever thread it waits."""
        self._driver.closed = True
        self._driver.hang_up()
        with suppress(ValueError):  # it runs in another thread, and ends by itself
            self._events.close()
        if self._owned:
            self._owned.close()

    def restart(self) -> None:
        """Ends the connection, or the pause, and connects again at once, from the last event on."""
        self._driver.at_once = True
        self._driver.hang_up()


class AsyncEventSource(Generic[Item]):
    """An asynchronous iterator over events, and comments where they are asked for, for one task."""

    def __init__(self, http: AsyncHttp, ask: Ask, source: Source, *, owner: bool = False, **options: Any) -> None:
        self._driver = AsyncDriver(http, ask, source, **options)
        self._events: AsyncGenerator[Item] = self._driver.run()
        self._owned = http if owner else None
        """The HTTP client that ends with this."""

    @property
    def last_event_id(self) -> str:
        """That of the last event taken: to go on from there another time."""
        return self._driver.source.last_event_id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        try:
            return await anext(self._events)
        except RuntimeError:  # it is being closed, by another task, just now
            if self._driver.closed:
                raise StopAsyncIteration from None
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends the iteration, in whatever task it waits."""
        self._driver.closed = True
        await self._driver.hang_up()
        with suppress(RuntimeError):  # it runs in another task, and ends by itself
            await self._events.aclose()
        if self._owned:
            await self._owned.aclose()

    async def restart(self) -> None:
        """Ends the connection, or the pause, and connects again at once, from the last event on."""
        self._driver.at_once = True
        await self._driver.hang_up()
