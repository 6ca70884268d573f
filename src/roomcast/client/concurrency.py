"""All differences between tasks and threads, written by hand.

`awaiting/` uses the names here that begin with `Async` or `async_`. `blocking/` is generated from it and uses the
same names without that prefix.
"""

from __future__ import annotations

import inspect
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar

import anyio

T = TypeVar("T")
ValueOrCall: TypeAlias = T | Callable[[], T]
"""A value, or a function that returns it anew for each attempt: a token expires, an address changes."""
AsyncValueOrCall: TypeAlias = T | Callable[[], T | Awaitable[T]]
"""The same; the function may be a coroutine function."""

Flag = threading.Event
AlreadyRunning: type[Exception] = ValueError
"""Python raises it when a second thread enters a running generator."""
AsyncAlreadyRunning: type[Exception] = RuntimeError
"""Python raises it when a second task enters a running generator."""


class AsyncFlag:
    """The methods of `threading.Event`, for tasks."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def is_set(self) -> bool:
        """Whether `set` was called and `clear` was not called after it."""
        return self._event.is_set()

    def set(self) -> None:
        """Wakes the task that waits."""
        self._event.set()

    def clear(self) -> None:
        """Makes the next `wait` wait again."""
        self._event = anyio.Event()

    async def wait(self, seconds: float) -> None:
        """Returns when the flag is set, or after `seconds` seconds."""
        with anyio.move_on_after(seconds):
            await self._event.wait()


def current(value: Any) -> Any:
    """Returns `value`, or the result of calling it if it is a function. Raises `TypeError` for a coroutine
    function."""
    given = value() if callable(value) else value
    if inspect.isawaitable(given):
        if inspect.iscoroutine(given):
            given.close()
        raise TypeError("a client without await cannot call a coroutine function: give it a plain function")
    return given


async def async_current(value: Any) -> Any:
    """Returns `value`, or the result of calling it if it is a function or a coroutine function."""
    given = value() if callable(value) else value
    return await given if inspect.isawaitable(given) else given


def hang_up(network: Any) -> None:
    """Ends the connection `network` of httpcore and wakes the thread that reads from it. Closing the socket would
    not wake that thread. Sends no closing message of TLS, because that thread may be inside TLS."""
    with suppress(OSError):
        socket.socket.shutdown(network.get_extra_info("socket"), socket.SHUT_RDWR)


async def async_hang_up(network: Any) -> None:
    """Ends the connection `network` of httpcore and wakes the task that reads from it."""
    await network.aclose()
