"""Cross-origin access (Fetch, section 3.2): which pages of other origins may read our answers.

Which of them are served at all is the gate's to say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from roomcast.api.request import Field, Fields
from roomcast.http.gate import Gate

_EXPOSED = (b"access-control-expose-headers", b"Location, Link, Retry-After")
_CREDENTIALS = (b"access-control-allow-credentials", b"true")
_METHODS = b"GET, HEAD, POST, DELETE"
_USUAL = b"content-type, idempotency-key, last-event-id, authorization"
_ASKED = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z, \t]{1,2000}")
_VARY = (b"vary", b"Origin")


class Cors:
    """What answers say of it."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        named = (origin.encode() for origin in gate.origins if origin != "*")
        self._named = {origin: Fields(*_allowed(origin), _CREDENTIALS, _VARY) for origin in named}
        any_origin = _allowed(b"*") if "*" in gate.origins else ()
        # Where there are no named origins, and all are allowed, each is answered the same.
        self._others = Fields(*any_origin, *([_VARY] if self._named or not any_origin else []))

    def fields(self, origin: bytes | None) -> Fields:
        """What every answer carries, an error as well. `origin` is the request's."""
        if origin is None:
            return self._others
        if origin not in self._named and self._gate.is_local(origin.decode("latin-1")):
            return Fields(*_allowed(origin), _VARY)
        return self._named.get(origin, self._others)

    def preflight(self, methods: Sequence[str], asked: bytes) -> Fields:
        """What a browser asks before it sends a request that a form could not; beside `fields`. Whatever header
        it asks for may be sent: tracing libraries add theirs to every request of a page."""
        return Fields(
            (b"allow", ", ".join(methods).encode()),
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", asked if _ASKED.fullmatch(asked) else _USUAL),
            (b"access-control-max-age", b"86400"),
            *([] if _VARY in self._others.pairs else [_VARY]),
        )


def _allowed(origin: bytes) -> Sequence[Field]:
    return (b"access-control-allow-origin", origin), _EXPOSED
