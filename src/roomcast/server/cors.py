"""Cross-origin access (Fetch, section 3.2): pages of other origins may use the API, all of them by default.

Not Starlette's middleware: it works by wrapping `send`, and a stream that took its connection over has none.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers

_EXPOSED = "Location, Link, Retry-After"
_ALLOWED = "content-type, idempotency-key, last-event-id, authorization"


class Cors:
    """Who may read our answers."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._any = "*" in origins
        self._origins = frozenset(origin.rstrip("/") for origin in origins)

    def headers(self, request: Headers) -> dict[str, str]:
        """What every answer carries, an error as well."""
        if self._any:
            return {"access-control-allow-origin": "*", "access-control-expose-headers": _EXPOSED}
        origin = request.get("origin")
        if origin not in self._origins:
            return {"vary": "Origin"}
        return {
            "access-control-allow-origin": str(origin),
            "access-control-expose-headers": _EXPOSED,
            "vary": "Origin",
        }

    def preflight(self, methods: Sequence[str]) -> dict[str, str]:
        """What a browser asks before it sends a request that a form could not; beside `headers`."""
        return {
            "access-control-allow-methods": ", ".join(methods),
            "access-control-allow-headers": _ALLOWED,
            "access-control-max-age": "86400",
        }
