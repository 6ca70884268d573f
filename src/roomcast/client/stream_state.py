"""The state of one event source over all its connections, by the rules of WHATWG HTML, section 9.2: the request,
the meaning of the answer, and when and where to connect again. No I/O: the drivers do that.

A stream ends cleanly, or with an error (cut, silent, unreachable, and the statuses of `again_on`). After a clean
end, the pause is the server's retry delay; a server that must spread its clients has done so itself. After an
error, the pause is that delay plus a random part, which doubles with each failure in a row: a server that comes
back meets its clients one by one.
"""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import httpx

from roomcast.client.decode import MAX_BLOCK, Decoder, Event, Item, Retry
from roomcast.client.errors import CredentialRejected, TryAgain, content_type, refusal, retry_after
from roomcast.model.errors import Unauthenticated

_LEAST_SPREAD = 0.1
"""Minimum spread of the first pause after an error, in seconds, if the server's delay is less."""
_MOST_SPREAD = 60.0
"""Maximum spread of a pause, in seconds."""
_FLOOR, _CALLERS_FLOOR = 0.1, 0.01
"""Minimum seconds of every pause. A smaller `max_delay` lowers the first number, but not below the second. A
server that says `retry: 0` and ends each stream must not keep a core busy, ours or its own."""
_MOST_DOUBLINGS = 20
_LONGEST_SILENCE = 600.0
"""Maximum to which a learned read timeout may grow, in seconds: after that a dead connection is always found."""

UNAUTHENTICATED = 401
_END = "roomcast.end"
_SOON = 5.0
"""Seconds. If the last credential ended less than this ago, the next one is not used at once."""
_MOST_REPLACED, _REPLACED_SECONDS = 3, 60.0
"""This source gives up when other streams have replaced it this many times within this many seconds. One of two
clients with the same ticket then goes on; at the tenth time the server would reject the ticket of both."""


class Pause(NamedTuple):
    """The wait before the next connection."""

    seconds: float
    error: Exception | None
    """Why the last connection ended; None after a clean end."""
    failures: int
    """How many connections have ended with an error since the last event or clean end."""


OnOpen = Callable[[httpx.Response], object]
OnPause = Callable[[Pause], object]


class StreamState:
    """The state of an event source while connections come and go."""

    def __init__(
        self,
        *,
        last_event_id: str = "",
        retry: float = 3.0,
        max_delay: float = 3600.0,
        max_block: int = MAX_BLOCK,
        again_on: Collection[int] = (),
        read_timeout: float | None = None,
        learns_heartbeat: bool = False,
        is_roomcast: bool = False,
        renews_credential: bool = False,
    ) -> None:
        """Times are in seconds, `max_block` in bytes; see `CommonConnectOptions` for the first six.

        Args:
            last_event_id: The event to resume after.
            retry: The retry delay, until the server sends one.
            max_delay: The longest pause.
            max_block: Of a line or a block, at most.
            again_on: Statuses that count as a failed connection.
            read_timeout: The silence after which a connection is dead; None: never.
            learns_heartbeat: Whether the timeout doubles when a stream falls silent: its heartbeat may be slower.
            is_roomcast: Whether an event `roomcast.end` says why the server ends the stream.
            renews_credential: Whether the next connection may carry another credential.
        """
        self.last_event_id: str = last_event_id
        """The id of the last event that was taken; after the end of a connection, that of its last block."""
        self.retry: float = retry
        self.read_timeout: float | None = read_timeout
        self._learns_heartbeat = learns_heartbeat
        self._is_roomcast = is_roomcast
        self._renews_credential = renews_credential
        self._rejected = False
        """Whether the server rejected the last credential: a second rejection is final."""
        self._end: str | None = None
        """The server's reason for ending the stream."""
        self._renewed_at = -math.inf
        self._replaced: deque[float] = deque(maxlen=_MOST_REPLACED)
        """When the server ended streams of this source because another one had the same ticket."""
        self._streaming = False
        self._max_delay = max_delay
        self._max_block = max_block
        self._again_on = again_on
        self._failures = 0
        self._decoder = Decoder(last_event_id, max_block)

    def headers(self) -> list[tuple[str, str | bytes]]:
        """The header fields of the next connection. The id is UTF-8 bytes: httpx would refuse a str."""
        headers: list[tuple[str, str | bytes]] = [
            ("Accept", "text/event-stream"),
            ("Cache-Control", "no-cache"),
        ]
        if id := self.last_event_id.encode().strip(b" \t"):
            headers.append(("Last-Event-ID", id))
        return headers

    def accepts(self, response: httpx.Response) -> bool:
        """Whether `response` is an event stream."""
        return response.status_code == 200 and content_type(response) == "text/event-stream"

    def refuse(self, response: httpx.Response, body: bytes) -> None:
        """Raises the error that `response` and its `body` mean if it is not an event stream: `TryAgain`, its
        `CredentialRejected` if another credential may be accepted, or a `RoomcastError` that is final."""
        error = refusal(response, body)
        if response.status_code == UNAUTHENTICATED and self._renews_credential and not self._rejected:
            self._rejected = True
            raise CredentialRejected(error)
        if response.status_code in self._again_on:
            raise TryAgain(error, retry_after(response))
        raise error

    def opened(self) -> None:
        """Called when a stream begins."""
        self._streaming = True
        self._rejected = False
        self._end = None
        self._decoder = Decoder(self.last_event_id, self._max_block)

    def feed(self, data: bytes) -> Sequence[Item]:
        """Returns the items that `data`, the next bytes of the stream, completes. Raises `Endless`."""
        return self._decoder.feed(data)

    def take(self, item: Item) -> None:
        """Called when the caller gets `item`: the stream resumes after it from then on."""
        if isinstance(item, Event):
            self.last_event_id = item.id
            self._failures = 0
            if item.type == _END and self._is_roomcast:
                self._end = item.data
        elif isinstance(item, Retry):
            self.retry = item.ms / 1000
        else:  # a comment
            self._learns_heartbeat = False  # a heartbeat came in time: the next silence means a dead connection

    def ended(self, error: Exception | None) -> Pause:
        """Called when a connection, or the attempt to make one, has ended: with `error`, or cleanly if that is
        None. Returns the pause before the next one. Raises `Unauthenticated` when another stream has replaced this
        one too often."""
        self.last_event_id = self._decoder.last_event_id
        self._learn(error)
        end, self._end = self._end, None
        if isinstance(error, CredentialRejected):
            return Pause(self._bounded(0.0), error.error, self._failures)
        if end is not None:
            return self._clean_pause(self._until_renewal(end))
        if error is None:
            return self._clean_pause(self.retry)
        if isinstance(error, TryAgain):
            return self._error_pause(error.error, max(self.retry, error.seconds))
        return self._error_pause(error, self.retry)

    def _learn(self, error: Exception | None) -> None:
        silent = self._streaming and isinstance(error, httpx.ReadTimeout)
        self._streaming = False
        if self._learns_heartbeat and silent and self.read_timeout:
            self.read_timeout = min(2 * self.read_timeout, max(self.read_timeout, _LONGEST_SILENCE))

    def _clean_pause(self, seconds: float) -> Pause:
        self._failures = 0
        return Pause(self._bounded(seconds), None, 0)

    def _error_pause(self, error: Exception, at_least: float) -> Pause:
        spread = max(self.retry, _LEAST_SPREAD) * 2 ** min(self._failures, _MOST_DOUBLINGS)
        self._failures += 1
        seconds = at_least + random.random() * min(spread, _MOST_SPREAD)
        return Pause(self._bounded(seconds), error, self._failures)

    def _until_renewal(self, end: str) -> float:
        """Seconds until a stream goes on after the server ended it because of its credential: usually 0.

        It is the server's retry delay in two cases: another client has the same ticket, and the two would replace
        each other for ever; or the fresh credential, too, ended within 5 s."""
        now = time.monotonic()
        if '"replaced"' in end:
            self._replaced.append(now)
            if len(self._replaced) == _MOST_REPLACED and now - self._replaced[0] < _REPLACED_SECONDS:
                raise Unauthenticated("another stream uses the same ticket: get a ticket for each stream")
            return self.retry
        soon = now - self._renewed_at < _SOON
        self._renewed_at = now
        return self.retry if soon else 0.0

    def _bounded(self, seconds: float) -> float:
        return max(min(max(seconds, _FLOOR), self._max_delay), _CALLERS_FLOOR)


def is_final(error: Exception) -> bool:
    """Whether another attempt would end with the same `error`."""
    return isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
