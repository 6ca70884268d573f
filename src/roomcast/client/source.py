"""One event source over all its connections, by the rules of WHATWG HTML, section 9.2: what is asked for, what an
answer means, when to connect again and from where. No I/O: the drivers in `sse` do that, with `await` and without.

A stream ends cleanly, or by an error (cut, silent, unreachable, and the statuses of `again_on`). After a clean
end the next connection comes when the server wants it, which has spread its clients itself where it must. After
an error it comes that late and up to as long again, twice as long with each failure in a row, at random: a server
that comes back meets its clients one by one.
"""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import Collection, Sequence
from typing import NamedTuple

import httpx

from roomcast.client.decode import MAX_BLOCK, Comment, Decoder, Event, Item, Retry
from roomcast.client.errors import Busy, Stale, content_type, refusal, retry_after
from roomcast.model.errors import Unauthenticated

_LEAST = 0.1
"""Seconds that the first pause after an error is spread over at least, where the server wants none."""
_MOST = 60.0
"""Seconds that a pause is spread over at most."""
_FLOOR, _CALLERS_FLOOR = 0.1, 0.01
"""Seconds that every pause lasts at least, and where the caller's `max_delay` is less. A server that says
`retry: 0` and ends each stream must not keep a core busy, ours or its own."""
_MOST_DOUBLINGS = 20
_LONGEST_SILENCE = 600.0
"""Seconds that are learned at most: a connection that is dead is not waited for any longer."""


UNAUTHENTICATED = 401
_END = "roomcast.end"
_SOON = 5.0
"""Seconds: a credential that is over sooner than this after the last one was is not renewed at once."""
_MOST_REPLACED, _REPLACED_SECONDS = 3, 60.0
"""So many times in so many seconds another stream may take the place of this one, before it gives up: one of two
goes on, where the server would refuse the ticket to both at the tenth."""


class Pause(NamedTuple):
    """What comes before the next connection."""

    seconds: float
    error: Exception | None
    """Why the last one ended; None where it was ended cleanly."""
    failures: int
    """How many in a row ended by an error and brought no event; 0 after a clean end."""


class Source:
    """What is known of a source while connections come and go."""

    def __init__(
        self,
        *,
        last_event_id: str = "",
        retry: float = 3.0,
        max_delay: float = 3600.0,
        max_block: int = MAX_BLOCK,
        again_on: Collection[int] = (),
        read_timeout: float | None = None,
        learns: bool = False,
        heeds_end: bool = False,
        renews: bool = False,
    ) -> None:
        """`heeds_end`: the server is roomcast, which says by an event why it ends a stream. `renews`: another
        connection may have another credential, where that of one is not taken."""
        self.last_event_id = last_event_id
        """Of the last event that was taken; after the end of a connection, of its last block."""
        self.retry = retry
        """Seconds: the server's word, or where it said none the caller's."""
        self.read_timeout = read_timeout
        """Seconds of silence after which a connection is dead; None: never."""
        self._learns = learns
        """Whether a stream on which nothing comes may be that of a server with slower heartbeats."""
        self._heeds_end = heeds_end
        self._renews = renews
        self._refused = False
        """Whether the last credential was not taken: another such answer is final."""
        self._end: str | None = None
        """What the server said of why it ends the stream."""
        self._renewed_at = -math.inf
        self._replaced: deque[float] = deque(maxlen=_MOST_REPLACED)
        """When streams of this source were ended because another one had the same ticket."""
        self._streaming = False
        self._max_delay = max_delay
        self._max_block = max_block
        self._again_on = again_on
        self._failures = 0
        self._decoder = Decoder(last_event_id, max_block)

    def headers(self) -> list[tuple[str, str | bytes]]:
        """Those that every connection has; the id as UTF-8, which is more than HTTP's text may hold."""
        headers: list[tuple[str, str | bytes]] = [
            ("Accept", "text/event-stream"),
            ("Cache-Control", "no-cache"),
        ]
        if id := self.last_event_id.encode().strip(b" \t"):
            headers.append(("Last-Event-ID", id))
        return headers

    def accepts(self, response: httpx.Response) -> bool:
        """Whether it is a stream."""
        return response.status_code == 200 and content_type(response) == "text/event-stream"

    def refuse(self, response: httpx.Response, body: bytes) -> None:
        """Raises what an answer that is no stream means: `Busy` to come again, `RoomcastError` for good."""
        error = refusal(response, body)
        if response.status_code == UNAUTHENTICATED and self._renews and not self._refused:
            self._refused = True
            raise Stale(error)
        if response.status_code in self._again_on:
            raise Busy(error, retry_after(response))
        raise error

    def opened(self) -> None:
        """A stream begins."""
        self._streaming = True
        self._refused = False
        self._end = None
        self._decoder = Decoder(self.last_event_id, self._max_block)

    def feed(self, data: bytes) -> Sequence[Item]:
        """What came with these bytes. Raises `Endless`."""
        return self._decoder.feed(data)

    def take(self, item: Item) -> None:
        """It goes to the caller now."""
        if isinstance(item, Event):
            self.last_event_id = item.id
            self._failures = 0
            if item.type == _END and self._heeds_end:
                self._end = item.data
        elif isinstance(item, Retry):
            self.retry = item.ms / 1000
        elif isinstance(item, Comment):
            self._learns = False  # a heartbeat that came in time: who falls silent now is dead

    def ended(self, error: Exception | None) -> Pause:
        """A connection, or the attempt to make one, ended. Raises `Unauthenticated` where another stream takes the
        place of this one again and again."""
        self.last_event_id = self._decoder.last_event_id
        if self._learns and self._streaming and self.read_timeout and isinstance(error, httpx.ReadTimeout):
            self.read_timeout = min(2 * self.read_timeout, max(self.read_timeout, _LONGEST_SILENCE))
        self._streaming = False
        wanted = self.retry
        end, self._end = self._end, None
        if isinstance(error, Stale):
            return Pause(self._bounded(0.0), error.error, self._failures)
        if end is not None:
            self._failures = 0
            return Pause(self._bounded(self._until_renewal(end)), None, 0)
        if isinstance(error, Busy):
            wanted, error = max(wanted, error.seconds), error.error
        if error is None:
            self._failures = 0
            return Pause(self._bounded(wanted), None, 0)
        spread = max(self.retry, _LEAST) * 2 ** min(self._failures, _MOST_DOUBLINGS)
        self._failures += 1
        seconds = wanted + random.random() * min(spread, _MOST)
        return Pause(self._bounded(seconds), error, self._failures)

    def _until_renewal(self, end: str) -> float:
        """Seconds until a stream goes on that the server ended for its credential, in these words: none, but for
        two cases. Two clients with one ticket would throw each other out for ever, and where a fresh credential is
        over as soon, the server's delay counts."""
        now = time.monotonic()
        if '"replaced"' in end:
            self._replaced.append(now)
            if len(self._replaced) == _MOST_REPLACED and now - self._replaced[0] < _REPLACED_SECONDS:
                raise Unauthenticated("another stream uses the same ticket: each needs one of its own")
            return self.retry
        soon = now - self._renewed_at < _SOON
        self._renewed_at = now
        return self.retry if soon else 0.0

    def _bounded(self, seconds: float) -> float:
        return max(min(max(seconds, _FLOOR), self._max_delay), _CALLERS_FLOOR)


def is_final(error: Exception) -> bool:
    """Whether another attempt would end the same way."""
    return isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
