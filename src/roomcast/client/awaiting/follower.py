"""The messages of a roomcast stream."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from roomcast.client import messages
from roomcast.client.awaiting.sse import AsyncEventSource
from roomcast.client.decode import Event
from roomcast.client.messages import Gap, Live, Message


class AsyncFollower:
    """An asynchronous iterator over `Message`, `Gap` and `Live`, made by `AsyncClient.follow`.

    One task iterates; any task may `aclose` it."""

    def __init__(self, source: AsyncEventSource[Event]) -> None:
        """Made by `AsyncClient.follow`."""
        self._source = source

    @property
    def last_event_id(self) -> str:
        """The id of the last item that was taken: `follow(..., last_event_id=...)` resumes there another time."""
        return self._source.last_event_id

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message | Gap | Live:
        while True:
            if (item := messages.from_event(await anext(self._source))) is not None:
                return item

    async def aclose(self) -> None:
        """Ends the stream and the iteration, whichever task waits in it."""
        await self._source.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
