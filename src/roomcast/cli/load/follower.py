"""One follower, as light as Python allows: httptools and `client/decode` on a plain protocol."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import cast
from urllib.parse import quote

import httptools

from roomcast.cli.load.address import Address
from roomcast.cli.load.figures import Figures
from roomcast.client.decode import Decoder, Endless, Event

_RETRY = 3.0
"""Minimum seconds before the next connection: the delay in roomcast's `retry:`. It also applies if the connection
ended before that line came."""


class BenchFollower(asyncio.Protocol):
    """Follows a room, and connects again and resumes after a cut."""

    def __init__(self, address: Address, room: str, figures: Figures, refused: Callable[[str], object]) -> None:
        self._address = address
        self._target = f"/messages?room={quote(room, safe='')}&replay=none"
        self._figures = figures
        self._refused = refused
        self._live = False
        self._closed = False
        self._last = 0
        """The number in the newest message's id."""
        self._connecting: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._decoder = Decoder()
        self._parser = httptools.HttpResponseParser(self)
        self._content_type = b""

    async def connect(self) -> None:
        """Opens the stream. Raises `OSError`."""
        self._parser = httptools.HttpResponseParser(self)
        self._decoder = Decoder(self._decoder.last_event_id)
        await self._address.connect(lambda: self)

    def close(self) -> None:
        """Ends it for good."""
        self._closed = True
        if self._connecting:
            self._connecting.cancel()
        if self._transport:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the request over the new `transport`, with the last id after a cut."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transports do not inherit from it
        last = self._decoder.last_event_id
        resume = {"Last_Event_ID": last} if last else {}
        self._transport.write(self._address.request("GET", self._target, Accept="text/event-stream", **resume))

    def data_received(self, data: bytes) -> None:
        """Parses `data`. Cuts the connection if it is not HTTP, or has an event without an end."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, Endless):
            assert self._transport
            self._transport.abort()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser: notes the `value` of the header field `name` if it is the content type."""
        if name.lower() == b"content-type":
            self._content_type = value.partition(b";")[0].strip().lower()

    def on_headers_complete(self) -> None:
        """Called by the parser: reports an answer that is not an event stream."""
        status = self._parser.get_status_code()
        if status != 200 or self._content_type != b"text/event-stream":
            content = ascii(self._content_type.decode("latin-1")).strip("'") or "no content type"
            self._refused(f"the server answers {status} ({content}) to a follow")

    def on_body(self, body: bytes) -> None:
        """Called by the parser: counts the events of this piece of the `body`."""
        now = time.perf_counter()
        events = [item for item in self._decoder.feed(body) if isinstance(item, Event)]
        self._figures.deliver(map(self._number, [e for e in events if e.type == "message"]), now)
        for event in events:
            if event.type == "live" and not self._live:
                self._live = True
                self._figures.connected += 1
            elif event.type == "gap":
                self._figures.gaps += 1

    def on_message_complete(self) -> None:
        """Called by the parser when the server has ended the stream."""
        assert self._transport
        self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Counts a cut, whatever its `error`, and connects again after 3 to 6 s. Does nothing after `close`."""
        if self._closed:
            return
        self._figures.connected -= self._live
        self._live = False
        self._figures.cuts += 1
        self._connecting = asyncio.get_running_loop().create_task(self._again())

    async def _again(self) -> None:
        while not self._closed:
            await asyncio.sleep(_RETRY * (1 + random.random()))
            with suppress(OSError):
                await self.connect()
                return

    def _number(self, event: Event) -> int:
        seq = int(event.id.rpartition("-")[2])
        if seq <= self._last:
            self._figures.disorder += 1
        self._last = seq
        return int(event.data.partition('"text":"')[2].partition(".")[0])
