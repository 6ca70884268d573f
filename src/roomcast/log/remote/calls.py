"""A worker's calls of the log's methods in the log process, one frame each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from msgspec import Raw

from roomcast.log.remote.frames import MethodCall, encode, result_of
from roomcast.log.remote.link import Link
from roomcast.model.errors import LogUnavailable, RoomcastError

_CALLS_AT_ONCE = 16
"""The most calls of one worker that wait for an answer at once. Others wait here, so that no worker's reads delay
another's."""
_CALL_SECONDS = 5.0
"""Seconds after which a call fails: the log process then counts as hung."""


class Calls:
    """The calls of one worker that are not answered yet."""

    def __init__(self, link: Link, why_away: Callable[[], str], number: Callable[[], int]) -> None:
        """`why_away` returns why the log does not answer now; empty if it does. `number` returns a number that no
        earlier call and no consumer has."""
        self._link = link
        self._why_away = why_away
        self._number = number
        self._answers: dict[int, asyncio.Future[Raw]] = {}
        self._slots = asyncio.Semaphore(_CALLS_AT_ONCE)

    async def call(self, method: str, *arguments: Any) -> Any:
        """Calls the log's `method` with `arguments`. Returns what the method returns, and raises what it raises,
        or `LogUnavailable` if the log process is away or takes longer than `_CALL_SECONDS`."""
        try:
            async with asyncio.timeout(_CALL_SECONDS), self._slots:
                return result_of[method](await self._answer(method, arguments))
        except TimeoutError:
            raise LogUnavailable("The log process does not answer.") from None

    def send(self, method: str, *arguments: Any) -> int:
        """Calls `method` with `arguments` without waiting for its result. Returns the call's number."""
        number = self._number()
        self._link.send(MethodCall(number, method, Raw(encode(arguments))))
        return number

    def resolve(self, number: int, value: Raw) -> None:
        """Passes `value`, the encoded result of the call with this `number`, to its caller. Ignores it if the
        caller no longer waits."""
        answer = self._answers.pop(number, None)
        if answer and not answer.done():
            answer.set_result(value)

    def fail(self, number: int, error: RoomcastError) -> None:
        """Passes `error` to the caller of the call with this `number`, if it still waits."""
        answer = self._answers.pop(number, None)
        if answer and not answer.done():
            answer.set_exception(error)

    def fail_all(self, why: str) -> None:
        """Fails all calls with `LogUnavailable` and the text `why`: none of them will be answered."""
        for number in list(self._answers):
            self.fail(number, LogUnavailable(why))

    async def _answer(self, method: str, arguments: tuple[Any, ...]) -> Raw:
        if why := self._why_away():
            raise LogUnavailable(why)
        answer: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()
        number = self.send(method, *arguments)
        self._answers[number] = answer
        try:
            return await answer
        finally:
            self._answers.pop(number, None)
