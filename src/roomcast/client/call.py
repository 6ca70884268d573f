"""A request that has one answer: when it is tried again, and what its answer is. No I/O.

Reading is harmless to repeat, and so is publishing: it has an `Idempotency-Key`, with which a request that
follows one whose answer was lost stores nothing. Deleting is, too: what is gone behind a lost answer went with it.
"""

from __future__ import annotations

import random
import time
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from roomcast.client.body import Body
from roomcast.client.errors import MAX_EXPLANATION, Unreachable, bad_tls, refusal, retry_after, shown
from roomcast.client.http import Ask
from roomcast.client.source import UNAUTHENTICATED, is_final

AGAIN_ON = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of a server that restarts or has too much to do, or of the proxy before it."""
_FIRST, _LONGEST = 0.1, 5.0
"""Seconds between two attempts: doubled each time."""


class Answer(NamedTuple):
    """What a request was answered with."""

    body: bytes
    known: bool = False
    """The server had stored this request's messages before this call began."""
    next: str | None = None
    """The query of the page that follows."""


class Call:
    """One request and its attempts."""

    def __init__(self, ask: Ask, patience: float, max_answer: int, *, renews: bool = False) -> None:
        self.ask = ask
        self._renews = renews
        """Whether the next attempt may have another credential, where this one's was not taken."""
        self._most = max_answer if ask.most is None else ask.most
        self._until = time.monotonic() + patience
        self._attempts = 0

    def failed(self, error: httpx.TransportError) -> float:
        """Seconds until the next attempt. Raises `Unreachable` where there is none."""
        if is_final(error):
            raise error
        if why := bad_tls(error):
            raise Unreachable(f"{shown(self.ask.url)} cannot be reached: {why}")
        said = str(error) or type(error).__name__
        unreachable = Unreachable(f"{shown(self.ask.url)} cannot be reached: {said}")
        unreachable.__cause__ = error
        return self._again(unreachable, 0)

    def bound(self, response: httpx.Response) -> int:
        """Bytes that are read of this response at most."""
        return self._most if response.is_success else MAX_EXPLANATION

    def answered(self, response: httpx.Response, body: Body) -> Answer | float:
        """The answer, or seconds until the next attempt. Raises what is wrong."""
        if response.is_success:
            # Behind a lost answer, 200 means this call's own first attempt as well.
            known = response.status_code == 200 and not self._attempts
            return Answer(body.whole(), known, _next(response))
        if response.status_code == 410 and self.ask.method == "DELETE" and self._attempts:
            return Answer(b"")
        error = refusal(response, body.content)
        if response.status_code == UNAUTHENTICATED and self._renews:
            self._renews = False
            return 0.0  # no attempt that counts: it stored nothing
        if response.status_code not in AGAIN_ON:
            raise error
        return self._again(error, retry_after(response))

    def _again(self, error: Exception, at_least: float) -> float:
        pause: float = min(_FIRST * 2.0 ** min(self._attempts, 10), _LONGEST)
        pause = max(at_least, pause * (0.5 + random.random() / 2))
        self._attempts += 1
        if time.monotonic() + pause > self._until:
            raise error
        return pause


def _next(response: httpx.Response) -> str | None:
    """Of where the next page is only the query is taken: the client's headers go to no other server."""
    url = response.links.get("next", {}).get("url")
    return urlsplit(url).query if url else None
