"""`roomcast.audit`: a line for each refusal by rights, with the reason that the client is not told.

A credential is shown as eight digits of its hash: enough to match lines of the same credential, and useless
otherwise.
"""

from __future__ import annotations

import hashlib
import logging
import time

from roomcast.api.request import TICKET, Request
from roomcast.model.errors import (
    BadCredential,
    Forbidden,
    InvalidToken,
    NotServed,
    RoomcastError,
    TooManyBad,
    Unauthenticated,
)
from roomcast.model.redact import redacted_target

_REFUSALS = (BadCredential, Forbidden, NotServed, TooManyBad, Unauthenticated)
_LINES_A_SECOND = 50
"""Maximum lines per second, on average: a client that tries keys must not fill the disk with lines."""
_BURST = 200

logger = logging.getLogger("roomcast.audit")


class Audit:
    """Writes the lines, and drops those above the rate."""

    def __init__(self) -> None:
        self.dropped = 0
        self._tokens = float(_BURST)
        self._filled_at = time.monotonic()

    def note(self, request: Request, error: RoomcastError, client: str) -> None:
        """Writes a line for `request`, which `error` refused by rights; `client` is its address. Ignores other
        errors."""
        if not isinstance(error, _REFUSALS) or not logger.isEnabledFor(logging.WARNING):
            return
        if not self._take_token():
            self.dropped += 1
            return
        fields = {
            "client": client,
            "method": request.head.method,
            "target": redacted_target(request.head.target),
            "status": error.status,
            "principal": request.principal.name or request.principal.kind,
            "reason": _reason(error),
            "credential": _fingerprint(request),
        }
        text = "refused: {client} {method} {target} {status} {principal}: {reason}{credential}"
        shown = fields | {"credential": f" (credential {fields['credential']})" if fields["credential"] else ""}
        logger.warning("%s", text.format(**shown), extra={"fields": fields})

    def _take_token(self) -> bool:
        now = time.monotonic()
        self._tokens = min(float(_BURST), self._tokens + (now - self._filled_at) * _LINES_A_SECOND)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def _reason(error: RoomcastError) -> str:
    if isinstance(error, InvalidToken):
        return error.reason or error.detail
    return "no credential was sent" if isinstance(error, Unauthenticated) else error.detail


def _fingerprint(request: Request) -> str:
    sent = request.values.get(b"authorization") or request.values.get(TICKET) or request.cookie
    if sent is None:
        return ""
    return hashlib.sha256(sent.rpartition(b" ")[2]).hexdigest()[:8]
