"""The attempts of a request that has one answer: when to try again, and the meaning of the answer. No I/O.

Reading is harmless to repeat. So is publishing: with its `Idempotency-Key`, a repeated request whose answer was
lost stores nothing. So is deleting: a message that is gone after a lost answer may have been deleted by the first
attempt.
"""

from __future__ import annotations

import random
import time
from typing import NamedTuple
from urllib.parse import urlsplit

import httpx

from roomcast.client.body import BoundedBody
from roomcast.client.errors import MAX_EXPLANATION, Unreachable, bad_tls, refusal, retry_after, without_password
from roomcast.client.http import OutgoingRequest
from roomcast.client.stream_state import UNAUTHENTICATED, is_final

AGAIN_ON = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of a server that restarts or is overloaded, or of the proxy in front of it."""
_NOT_PERFORMED = frozenset({425, 429})
"""Those of a server or proxy that has not performed the request (RFC 8470, section 5.2; RFC 6585, section 4)."""
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
"""Errors of an attempt that never had a connection."""
_FIRST, _LONGEST = 0.1, 5.0
"""Seconds between two attempts, doubled each time and then shortened by chance; `Retry-After` may ask for more."""


class Reply(NamedTuple):
    """A good answer."""

    body: bytes
    known: bool = False
    """Whether the server had stored these messages before the first attempt."""
    next: str | None = None
    """The query of the next page."""


class Attempts:
    """One request and its attempts."""

    def __init__(
        self, request: OutgoingRequest, patience: float, max_answer: int, *, renews_credential: bool = False
    ) -> None:
        """`patience`: seconds in which failed attempts are repeated. `max_answer`: bytes, unless the request has
        its own bound."""
        self.request = request
        self._renews_credential = renews_credential
        """Whether the next attempt may carry another credential if the server rejects this one."""
        self._max_answer = max_answer if request.max_answer is None else request.max_answer
        self._until = time.monotonic() + patience
        self._attempts = 0
        self._may_be_done = False
        """Whether the server may have performed an earlier attempt, whose answer is not known."""

    def failed(self, error: httpx.TransportError) -> float:
        """Called when an attempt ended with `error`. Returns the seconds until the next attempt. Raises `error`
        itself if no attempt could succeed, and `Unreachable` if TLS always fails or the patience is used up."""
        if is_final(error):
            raise error
        url = without_password(self.request.url)
        if why := bad_tls(error):
            raise Unreachable(f"{url} cannot be reached: {why}")
        unreachable = Unreachable(f"{url} cannot be reached: {str(error) or type(error).__name__}")
        unreachable.__cause__ = error
        self._may_be_done |= not isinstance(error, _NOT_SENT)
        return self._again(unreachable, 0)

    def max_bytes(self, response: httpx.Response) -> int:
        """Maximum number of bytes to read of the body of `response`: `MAX_EXPLANATION` of an error."""
        return self._max_answer if response.is_success else MAX_EXPLANATION

    def answered(self, response: httpx.Response, body: BoundedBody) -> Reply | float:
        """Returns the reply in `response` and its `body`, or the seconds until the next attempt. Raises the error
        that the answer means, if another attempt would not help or the patience is used up, and `TooMuch` for a
        reply that exceeds its bound."""
        if response.is_success:
            # After a lost answer, 200 may mean our own first attempt.
            known = response.status_code == 200 and not self._may_be_done
            return Reply(body.whole(), known, _next(response))
        if response.status_code == 410 and self.request.method == "DELETE" and self._may_be_done:
            return Reply(b"")
        error = refusal(response, body.content)
        if response.status_code == UNAUTHENTICATED and self._renews_credential:
            self._renews_credential = False
            return 0.0  # not counted as an attempt: it stored nothing
        if response.status_code not in AGAIN_ON:
            raise error
        self._may_be_done |= response.status_code not in _NOT_PERFORMED
        return self._again(error, retry_after(response))

    def _again(self, error: Exception, at_least: float) -> float:
        pause: float = min(_FIRST * 2.0 ** min(self._attempts, 10), _LONGEST)
        pause = max(at_least, pause * (0.5 + random.random() / 2))
        self._attempts += 1
        if time.monotonic() + pause > self._until:
            raise error
        return pause


def _next(response: httpx.Response) -> str | None:
    """The query of the link to the next page. Its host is ignored: no other server may get the client's
    headers."""
    url = response.links.get("next", {}).get("url")
    return urlsplit(url).query if url else None
