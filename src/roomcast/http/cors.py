"""Cross-origin access (Fetch, section 3.2): pages of other origins may use the API, all of them by default.

Not Starlette's middleware: it works by wrapping `send`, and a stream that took its connection over has none.
"""

from __future__ import annotations

from collections.abc import Sequence

_EXPOSED = b"Location, Link, Retry-After"
_ALLOWED = "content-type, idempotency-key, last-event-id, authorization"


Headers = list[tuple[bytes, bytes]]


class Cors:
    """Who may read our answers."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origins)
        self._anybody = _allowed("*")

    def headers(self, origin: str | None) -> Headers:
        """What every answer carries, an error as well; not to be changed."""
        if self._any:
            return self._anybody
        vary = (b"vary", b"Origin")
        return [*_allowed(origin), vary] if origin is not None and origin in self._origins else [vary]

    def preflight(self, methods: Sequence[str]) -> dict[str, str]:
        """What a browser asks before it sends a request that a form could not; beside `headers`."""
        return {
            "access-control-allow-methods": ", ".join(methods),
            "access-control-allow-headers": _ALLOWED,
            "access-control-max-age": "86400",
        }


def _allowed(origin: str) -> Headers:
    return [
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _EXPOSED),
    ]
