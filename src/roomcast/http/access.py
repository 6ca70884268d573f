"""The access log: a line for each request.

`roomcast serve` writes the lines by itself (`serve/lines`): making a `LogRecord` for each would cost more than the
request. In a host application they are records of the logger `roomcast.access`.
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
    """Sends all lines to `write` from now on; None sends them to Python's logging again."""
    global _write
    _write = write


def is_enabled() -> bool:
    """Whether the access log is written at all."""
    return _write is not None or _logger.isEnabledFor(logging.INFO)


def log_request(client: str, method: str, target: bytes, status: int, seconds: float, principal: str = "") -> None:
    """Writes the line of a request. `client` is its client's address; `method` and `target` are those of its head,
    and secrets in the target are redacted. `status` is that of the answer, and `seconds` is the time until the
    answer began, 0 for a stream. `principal` is the principal's name, empty if it has none."""
    shown = redacted_target(target)
    if _write:
        _write(client, method, shown, status, seconds, principal)
        return
    fields = {"client": client, "method": method, "target": shown, "status": status, "seconds": seconds}
    named = {"principal": principal} if principal else {}
    text = f"{client} {method} {shown} {status} {seconds * 1000:.1f} ms {principal}".rstrip()
    _logger.info("%s", text, extra={"fields": {**fields, **named}})
