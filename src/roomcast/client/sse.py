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

from collections.abc import AsyncGenerator, Collection, Generator, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypedDict, TypeVar, Unpack, overload

from roomcast.client import address
from roomcast.client.decode import Comment, Endless, Event
from roomcast.client.driver import AsyncDriver, Driver, OnOpen, OnPause
from roomcast.client.errors import Refused
from roomcast.client.http import Ask, AsyncGiven, AsyncHttp, Auth, Given, Headers, Http, Options, Proxy
from roomcast.client.options import AwaitingOptions, BlockingOptions
from roomcast.client.source import Pause, Source

__all__ = [
    "AsyncConnectOptions",
    "AsyncEventSource",
    "Comment",
    "ConnectOptions",
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


class _Connect(TypedDict, total=False):
    method: str
    """`GET` by default."""
    body: bytes | str | None
    last_event_id: str
    retry: float
    """Seconds until the server names a pause; 3 by default."""
    max_delay: float
    """Seconds that a pause lasts at most; 3,600 by default."""
    read_timeout: float | None
    """Seconds of silence after which a connection is dead; None for never, as the standard has it."""
    max_block: int
    """Bytes of a line or block; a longer one raises `Endless`. 8 MiB by default."""
    again_on: Collection[int]
    """Statuses that are taken for a failed connection, such as 502 and 503; by the standard all are final."""
    on_open: OnOpen | None
    """Called with each stream's response; what it raises ends the stream."""
    on_pause: OnPause | None
    """Called before each pause; what it raises ends the stream."""


class ConnectOptions(_Connect, BlockingOptions, total=False):
    """What `connect` takes: its own options, and httpx's. `headers`, `auth` (a bearer token, a pair, or what httpx
    takes) and `proxy` may be functions, called for each connection."""

    headers: Given[Headers | None]
    auth: Given[Auth]
    proxy: Given[Proxy]


class AsyncConnectOptions(_Connect, AwaitingOptions, total=False):
    """What `aconnect` takes: as `ConnectOptions`, and the functions may be coroutines."""

    headers: AsyncGiven[Headers | None]
    auth: AsyncGiven[Auth]
    proxy: AsyncGiven[Proxy]


@overload
def connect(
    url: str, *, comments: Literal[False] = False, **options: Unpack[ConnectOptions]
) -> EventSource[Event]: ...


@overload
def connect(url: str, *, comments: bool, **options: Unpack[ConnectOptions]) -> EventSource[Event | Comment]: ...


def connect(url: str, *, comments: bool = False, **options: Unpack[ConnectOptions]) -> EventSource[Any]:
    """Follows an event stream. The options are those of `ConnectOptions`; with `comments` those come as well.

    Raises `ValueError` where `url` is no address, and `TypeError` where an option is none. Iterating raises
    `Refused` where the answer is no event stream, and `Endless`."""
    http, ask, source, calls = _prepared(url, options)
    return EventSource(Http(http), ask, source, comments=comments, owner=True, **calls)


@overload
def aconnect(
    url: str, *, comments: Literal[False] = False, **options: Unpack[AsyncConnectOptions]
) -> AsyncEventSource[Event]: ...


@overload
def aconnect(
    url: str, *, comments: bool, **options: Unpack[AsyncConnectOptions]
) -> AsyncEventSource[Event | Comment]: ...


def aconnect(url: str, *, comments: bool = False, **options: Unpack[AsyncConnectOptions]) -> AsyncEventSource[Any]:
    """`connect` for an event loop: `async with`, `async for`. The functions for `headers`, `auth` and `proxy` may
    be coroutines."""
    http, ask, source, calls = _prepared(url, options)
    return AsyncEventSource(AsyncHttp(http), ask, source, comments=comments, owner=True, **calls)


_OF_SOURCE = ("last_event_id", "retry", "max_delay", "max_block", "again_on", "read_timeout")
_OF_CALLS = ("on_open", "on_pause")
_OF_ASK = ("method", "body", "headers", "auth", "proxy")
_OWN = (*_OF_SOURCE, *_OF_CALLS, *_OF_ASK, "comments")


def _prepared(url: str, given: Mapping[str, Any]) -> tuple[Options, Ask, Source, dict[str, Any]]:
    """The parts that an event source is made of. Raises `ValueError`, `TypeError`."""
    more = {name: value for name, value in given.items() if name not in _OWN}
    http = Options(given.get("headers"), given.get("auth"), given.get("proxy"), more, _OWN)
    body = given.get("body")
    body = body.encode() if isinstance(body, str) else body
    ask = Ask(given.get("method", "GET"), address.checked(url), body)
    source = Source(**{name: given[name] for name in _OF_SOURCE if name in given})
    return http, ask, source, {name: given[name] for name in _OF_CALLS if name in given}


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
