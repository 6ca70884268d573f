"""Log lines, for a person in a terminal or as JSON, written by a thread of their own: a terminal or pipe that
nobody reads must not hold up the loop."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import queue
import string
import threading
from logging.handlers import QueueHandler
from urllib.parse import quote

import msgspec

from roomcast.model.message import rfc3339

_MAX_TARGET = 1_000
"""Bytes of a request's target in a line: it may be as long as a request's head."""
_WAITING_LINES = 10_000
"""More than these are dropped: a stuck terminal is no reason to grow."""
_LAST_LINES_SECONDS = 1.0
"""How long the last of them may take to be read: nor is it a reason not to end."""

_Lines = queue.SimpleQueue[logging.LogRecord | None]
"""Lines to be written; None ends them."""

access = logging.getLogger("roomcast.access")


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        when = self.formatTime(record, "%H:%M:%S")
        mark = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        trace = f"\n{self.formatException(record.exc_info)}" if record.exc_info else ""
        return f"{when} {mark}{record.getMessage()}{trace}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": rfc3339(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class _Stderr(logging.Handler):
    """Standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            say(self.format(record))
        except Exception:
            self.handleError(record)


class _Dropping(QueueHandler):
    """Drops what does not fit, and formats in the thread that writes."""

    def __init__(self, waiting: _Lines) -> None:
        super().__init__(waiting)
        self._waiting = waiting

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._waiting.qsize() < _WAITING_LINES:
            self._waiting.put(record)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record


def say(line: str) -> None:
    """A line on standard error, or nowhere: a pipe whose reader has ended, or a terminal that was closed, is no
    reason to stop. Not by `sys.stderr`, which keeps what it could not write, and fails of it again at the end."""
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode(errors="backslashreplace"))


def log_to_stderr(format: str, requests: bool) -> None:
    """Sets up the lines of this program and of uvicorn."""
    target = _Stderr()
    target.setFormatter(_Json() if format == "json" else _Text())
    # Not a Queue: its lock is held while the thread takes a line, and the loop would wait for it.
    waiting: _Lines = queue.SimpleQueue()
    writing = threading.Thread(target=_write, args=(waiting, target), name="lines", daemon=True)
    writing.start()
    atexit.register(_end, waiting, writing)
    for name, level in (("roomcast", logging.INFO), ("uvicorn.error", logging.ERROR)):
        logger = logging.getLogger(name)
        logger.handlers = [_Dropping(waiting)]
        logger.setLevel(level)
        logger.propagate = False
    for logger in (access, logging.getLogger("roomcast.streams")):
        logger.setLevel(logging.INFO if requests else logging.WARNING)


def _write(waiting: _Lines, target: _Stderr) -> None:
    while (record := waiting.get()) is not None:
        target.emit(record)  # not `handle`, whose lock `logging` waits for at the end


def _end(waiting: _Lines, writing: threading.Thread) -> None:
    waiting.put(None)
    writing.join(_LAST_LINES_SECONDS)


def noted() -> bool:
    """Whether requests are written down at all."""
    return access.isEnabledFor(logging.INFO)


def note(client: str, method: str, target: bytes, status: int, seconds: float) -> None:
    """One line for one request."""
    # Escaped, or a client could write what it likes to the operator's terminal.
    shown = quote(target[:_MAX_TARGET], string.punctuation)
    fields = {"client": client, "method": method, "target": shown, "status": status, "seconds": seconds}
    access.info("%s %s %s %d %.1f ms", client, method, shown, status, seconds * 1000, extra={"fields": fields})
