"""One publisher, which sends one request after another on a connection that it keeps."""

from __future__ import annotations

import asyncio
from asyncio import Future
from typing import cast

import httptools

from roomcast.cli.load.address import PATIENCE, Address


class Poster(asyncio.Protocol):
    """Posts a message, and waits for the answer."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._transport: asyncio.Transport | None = None
        self._answer: Future[int] | None = None
        """The status of the request under way."""
        self._parser = httptools.HttpResponseParser(self)

    async def post(self, body: bytes, key: str) -> int:
        """Posts the message `body` with the idempotency key `key`. Returns the status. Raises `OSError` if there
        is no answer; then send the same `body` and `key` again."""
        if self._transport is None:
            self._parser = httptools.HttpResponseParser(self)
            await self._address.connect(lambda: self)
        assert self._transport
        self._answer = asyncio.get_running_loop().create_future()
        fields = {"Content_Type": "application/json", "Idempotency_Key": key}
        self._transport.write(self._address.request("POST", "/messages", body, **fields))
        async with asyncio.timeout(PATIENCE):
            return await self._answer

    def close(self) -> None:
        """Ends the connection."""
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the `transport` for all further posts."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from it

    def data_received(self, data: bytes) -> None:
        """Parses `data`. Cuts the connection if it is not HTTP."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    def on_message_complete(self) -> None:
        """Called by the parser: gives `post` its status."""
        if self._answer and not self._answer.done():
            self._answer.set_result(self._parser.get_status_code())
        if not self._parser.should_keep_alive():
            self.close()
            self._transport = None

    def connection_lost(self, error: Exception | None) -> None:
        """Fails the post under way, whatever the `error` was. The next post connects again."""
        self._transport = None
        if self._answer and not self._answer.done():
            self._answer.set_exception(ConnectionError("the connection ended before an answer"))
