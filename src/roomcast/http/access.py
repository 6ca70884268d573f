"""A line for each request.

`roomcast serve` writes them by itself (`serve/lines`): a `LogRecord` for each cost more than the request. In
somebody else's program they are records of `roomcast.access` like any other logger's.
"""

from __future__ import annotations

import logging
from typing import Protocol

from roomcast.model.redact import redacted_target

LOGGER = "roomcast.access"


class Write(Protocol):
    """Writes the line of one request, whose target is redacted."""

    def __call__(
        self, client: str, method: str, target: str, status: int, seconds: float, principal: str, /
    ) -> None: ...


_logger = logging.getLogger(LOGGER)
_write: Write | None = None


def write_to(write: Write | None) -> None:
    """Lines go to `write` from now on instead of to Python's logging; None: to that again."""
    global _write
    _write = write


def noted() -> bool:
    """Whether requests are written down at all."""
    return _write is not None or _logger.isEnabledFor(logging.INFO)


def note(client: str, method: str, target: bytes, status: int, seconds: float, principal: str = "") -> None:
    """One line for one request. `client` is its address, `target` as received, `seconds` until its answer began,
    `principal` who asked, where that is known."""
    shown = redacted_target(target)
    if _write:
        _write(client, method, shown, status, seconds, principal)
        return
    fields = {"client": client, "method": method, "target": shown, "status": status, "seconds": seconds}
    named = {"principal": principal} if principal else {}
    text = f"{client} {method} {shown} {status} {seconds * 1000:.1f} ms {principal}".rstrip()
    _logger.info("%s", text, extra={"fields": {**fields, **named}})
