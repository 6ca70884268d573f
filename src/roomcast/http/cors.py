"""Cross-origin access (Fetch, section 3.2): which pages of other origins may read our answers.

The gate decides which origins are served at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from roomcast.api.answer import Field, HeaderFields
from roomcast.http.gate import Gate

_EXPOSED = (b"access-control-expose-headers", b"Location, Link, Retry-After")
_CREDENTIALS = (b"access-control-allow-credentials", b"true")
_METHODS = b"GET, HEAD, POST, DELETE"
_USUAL = b"content-type, idempotency-key, last-event-id, authorization"
_REQUESTED = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z, \t]{1,2000}")
_VARY = (b"vary", b"Origin")


class Cors:
    """The CORS header fields of answers."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        named = (origin.encode() for origin in gate.origins if origin != "*")
        self._named = {origin: HeaderFields(*_allowed(origin), _CREDENTIALS, _VARY) for origin in named}
        any_origin = _allowed(b"*") if "*" in gate.origins else ()
        # If any origin is allowed and none is named, every answer is the same and needs no Vary.
        self._others = HeaderFields(*any_origin, *([_VARY] if self._named or not any_origin else []))

    def fields(self, origin: bytes | None) -> HeaderFields:
        """The fields of every answer, errors included. `origin` is the request's; None if it has none."""
        if origin is None:
            return self._others
        if origin not in self._named and self._gate.is_local(origin.decode("latin-1")):
            return HeaderFields(*_allowed(origin), _VARY)
        return self._named.get(origin, self._others)

    def preflight(self, methods: Sequence[str], requested: bytes) -> HeaderFields:
        """The fields of a preflight's answer, in addition to `fields`. `methods` are those of the path. All
        `requested` headers are allowed, if they are a list of up to 2,000 characters: tracing libraries add theirs
        to every request of a page."""
        return HeaderFields(
            (b"allow", ", ".join(methods).encode()),
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", requested if _REQUESTED.fullmatch(requested) else _USUAL),
            (b"access-control-max-age", b"86400"),
            *([] if _VARY in self._others.pairs else [_VARY]),
        )


def _allowed(origin: bytes) -> Sequence[Field]:
    return (b"access-control-allow-origin", origin), _EXPOSED
