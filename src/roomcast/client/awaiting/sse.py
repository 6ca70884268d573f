"""Follows any server's event stream: `aconnect`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Literal, Self, Unpack, overload

from roomcast.client.awaiting.driver import AsyncDriver
from roomcast.client.awaiting.http import AsyncHttp
from roomcast.client.concurrency import AsyncAlreadyRunning, AsyncValueOrCall
from roomcast.client.connecting import CommonConnectOptions, StreamItem, prepared
from roomcast.client.decode import Comment, Event
from roomcast.client.http import Auth, Headers, OutgoingRequest, Proxy
from roomcast.client.options import AwaitingOptions
from roomcast.client.stream_state import StreamState


class AsyncConnectOptions(CommonConnectOptions, AwaitingOptions, total=False):
    """The options of `aconnect`: its own, and those of httpx. `headers`, `auth` (a bearer token, a pair of user
    and password, or what httpx takes) and `proxy` may be functions or coroutine functions, called for each
    connection."""

    headers: AsyncValueOrCall[Headers | None]
    auth: AsyncValueOrCall[Auth]
    proxy: AsyncValueOrCall[Proxy]


class AsyncEventSource(Generic[StreamItem]):
    """An asynchronous iterator over the events of a stream, and over its comments if they are asked for.

    One task iterates; any task may `aclose` it."""

    def __init__(
        self, http: AsyncHttp, request: OutgoingRequest, state: StreamState, *, owner: bool = False, **options: Any
    ) -> None:
        """Made by `aconnect`. As the `owner` of `http` it closes that, too."""
        self._driver = AsyncDriver(http, request, state, **options)
        self._events: AsyncGenerator[StreamItem] = self._driver.run()
        self._owned = http if owner else None

    @property
    def last_event_id(self) -> str:
        """The id of the last event that was taken; give it to `aconnect` to resume another time."""
        return self._driver.state.last_event_id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamItem:
        try:
            return await anext(self._events)
        except AsyncAlreadyRunning:  # another task is closing it
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
        """Ends the iteration, whichever task waits in it."""
        self._driver.closed = True
        await self._driver.hang_up()
        with suppress(AsyncAlreadyRunning):  # it runs in another task, and ends by itself
            await self._events.aclose()
        if self._owned:
            await self._owned.aclose()

    async def restart(self) -> None:
        """Ends the connection, or the pause, and connects again at once, after the last event."""
        self._driver.at_once = True
        await self._driver.hang_up()


@overload
def aconnect(
    url: str, *, comments: Literal[False] = False, **options: Unpack[AsyncConnectOptions]
) -> AsyncEventSource[Event]: ...


@overload
def aconnect(
    url: str, *, comments: bool, **options: Unpack[AsyncConnectOptions]
) -> AsyncEventSource[Event | Comment]: ...


def aconnect(url: str, *, comments: bool = False, **options: Unpack[AsyncConnectOptions]) -> AsyncEventSource[Any]:
    """Follows an event stream of any server, for an event loop.

    Args:
        url: The stream's address, with its query.
        comments: Whether comments come as well.
        options: Those of `AsyncConnectOptions`; times are in seconds.

    Returns:
        An iterator of `Event` and, with `comments`, of `Comment`. Iterating it raises `Refused` if the answer is
        not an event stream, and `Endless` for a line or block that is too long.

    Raises:
        ValueError: `url` is not an address, or the option `proxy` not that of a proxy.
        TypeError: There is no such option.
    """
    http, request, state, callbacks = prepared(url, options)
    return AsyncEventSource(AsyncHttp(http), request, state, comments=comments, owner=True, **callbacks)
