"""Cross-origin access (Fetch, section 3.2): pages of other origins may use the API, all of them by default."""

from __future__ import annotations

from collections.abc import Sequence

from roomcast.api.request import Field, Fields

_EXPOSED = (b"access-control-expose-headers", b"Location, Link, Retry-After")
_ALLOWED = b"content-type, idempotency-key, last-event-id, authorization"
_VARY = (b"vary", b"Origin")


class Cors:
    """Who may read our answers."""

    def __init__(self, origins: Sequence[str]) -> None:
        named = (origin.encode() for origin in origins if origin != "*")
        self._named = {origin: Fields(*_allowed(origin), _VARY) for origin in named}
        self._others = Fields(*_allowed(b"*")) if "*" in origins else Fields(_VARY)

    def fields(self, origin: bytes | None) -> Fields:
        """What every answer carries, an error as well. `origin` is the request's."""
        return self._named.get(origin, self._others) if origin is not None else self._others


def preflight(methods: Sequence[str]) -> Fields:
    """What a browser asks before it sends a request that a form could not; beside `Cors.fields`."""
    listed = ", ".join(methods).encode()
    return Fields(
        (b"allow", listed),
        (b"access-control-allow-methods", listed),
        (b"access-control-allow-headers", _ALLOWED),
        (b"access-control-max-age", b"86400"),
    )


def _allowed(origin: bytes) -> Sequence[Field]:
    return (b"access-control-allow-origin", origin), _EXPOSED
