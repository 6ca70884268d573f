"""The log lines of `roomcast serve`, on their way to standard error.

A separate thread writes them, many at once: a terminal or pipe that nobody reads must not hold up the loop, and
waking the thread for each line would cost more than the request itself. The loop renders the lines about requests;
in the thread this would compete for the interpreter's lock. The thread renders all others: a traceback reads
files.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable

from roomcast.http import access
from roomcast.serve.rendering import Rendering, rendered, rendering_of

_WAITING_LINES = 10_000
"""Maximum number of waiting lines. Further ones are dropped: a stuck terminal must not make the process grow."""
_GATHER_SECONDS = 0.05
"""How long the thread lets lines gather before it writes them: at full speed thousands, and nobody sees the delay.
A warning is written at once."""
_LAST_LINES_SECONDS = 1.0
"""How long the end of the process waits for the last lines: a stuck terminal must not keep it from ending."""


def log_to_stderr(format: str, requests: bool, level: str = "info", process: str = "") -> LineWriter:
    """Writes all lines of this process from now on, including other libraries' warnings and uncaught errors.
    `format` is text or json. `requests` says whether each request and the end of each stream has a line. `level`
    is the lowest level that is written: debug, info, warning or error. `process` is this process's name in each
    line, if there are several."""
    lines = LineWriter(rendering_of(format, process))
    others = _install(_Handler(lines.add), level)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it would warn of each malformed request
    for name in (access.LOGGER, "roomcast.streams"):
        logging.getLogger(name).setLevel(logging.NOTSET if requests else others)
    access.write_to(lines.add_request if access.is_enabled() else None)
    _log_uncaught_errors()
    return lines


def log_unbuffered(format: str, level: str) -> None:
    """Like `log_to_stderr`, with its `format` and `level`, for a process with few lines and no threads: each line
    is written at once, or dropped if nobody reads standard error."""
    rendering = rendering_of(format, "")
    _install(_Handler(lambda record: _say_if_read(rendered(rendering, record))), level)


def _install(handler: logging.Handler, level: str) -> int:
    """Gives all lines to a handler. Returns the lowest level at which other libraries' lines are written."""
    least = logging.getLevelNamesMapping()[level.upper()]
    others = max(least, logging.WARNING)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(others)
    logging.getLogger("roomcast").setLevel(least)
    return others


def _say_if_read(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:
            say(line)


def say(line: str) -> None:
    """Writes a line to standard error. If the pipe's reader or the terminal is gone, drops it without an error.
    `sys.stderr` is not used: it keeps unwritten text, and fails on it again when the process ends."""
    _write(f"{line}\n".encode(errors="backslashreplace"))


class LineWriter:
    """Lines on their way to standard error. Any thread may add some."""

    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering
        self._waiting: deque[str | logging.LogRecord] = deque()
        self._idle = False
        """Whether the thread must be woken. The thread sets it before it looks for lines a last time. A line that
        is added after that look therefore finds it set."""
        self._wake = threading.Event()
        self._hurry = threading.Event()
        """Set if the waiting lines must be written without waiting for more."""
        self._ending = False
        self._counting = threading.Lock()
        """Held only while `_dropped` is increased."""
        self._dropped = 0
        self._reported = 0
        """How many dropped lines have been reported."""
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()
        atexit.register(self.end)

    def add_request(
        self, client: str, method: str, target: str, status: int, seconds: float, principal: str, /
    ) -> None:
        """Adds the line of a request, unless too many lines wait. Takes what `Rendering.request` takes: `client`,
        `method`, `target`, `status`, `seconds` and `principal`."""
        waiting = self._waiting
        if len(waiting) >= _WAITING_LINES:
            self._drop()
            return
        waiting.append(self._rendering.request(client, method, target, status, seconds, principal))
        if self._idle:
            self._wake_up()

    def add(self, record: logging.LogRecord) -> None:
        """Adds the line of any other `record`, unless too many lines wait. The thread renders it, so its arguments
        must not change after the call."""
        if len(self._waiting) >= _WAITING_LINES:
            self._drop()
            return
        self._waiting.append(record)
        if record.levelno >= logging.WARNING:
            self._hurry.set()
        if self._idle:
            self._wake_up()

    def end(self) -> None:
        """Waits until all lines are written, at most a second."""
        self._ending = True
        self._hurry.set()
        self._wake.set()
        self._thread.join(_LAST_LINES_SECONDS)

    def _wake_up(self) -> None:
        self._idle = False
        self._wake.set()

    def _drop(self) -> None:
        with self._counting:
            self._dropped += 1

    def _run(self) -> None:
        while not self._ending or self._waiting:
            self._sleep()
            dropped = self._dropped  # these lines came later than those that are taken now
            taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
            lines = [one if isinstance(one, str) else rendered(self._rendering, one) for one in taken]
            _write("".join([f"{line}\n" for line in lines + self._report_of(dropped)]).encode())

    def _sleep(self) -> None:
        """Waits until there are lines, and a little longer for more."""
        self._idle = True
        if not self._waiting:
            self._wake.wait()
        self._idle = False
        self._wake.clear()
        self._hurry.wait(_GATHER_SECONDS)
        self._hurry.clear()

    def _report_of(self, dropped: int) -> list[str]:
        missing, self._reported = dropped - self._reported, dropped
        if not missing:
            return []
        message = f"{missing} lines are missing here, as standard error is read too slowly: try --no-access-log"
        return [self._rendering.line(time.time(), "warning", "roomcast.lines", message, {"dropped": missing}, "")]


class _Handler(logging.Handler):
    """Passes the records of Python's logging on."""

    def __init__(self, add: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._add = add

    def emit(self, record: logging.LogRecord) -> None:
        self._add(record)


def _write(data: bytes) -> None:
    """Writes `data` to standard error, and waits until it is all written. Drops the rest if the pipe's reader or
    the terminal is gone."""
    at = 0
    try:
        piece = select.PIPE_BUF if stat.S_ISFIFO(os.fstat(2).st_mode) else len(data)
        while at < len(data):
            # Write whole lines: writes of several processes to one pipe do not mix if each has at most PIPE_BUF
            # bytes (POSIX, write()).
            end = data.rfind(b"\n", at, at + piece) + 1 or data.find(b"\n", at) + 1
            try:
                at += os.write(2, data[at:end])
            except BlockingIOError:  # another process with the same terminal or pipe made it non-blocking
                select.select([], [2], [])
    except OSError:
        return


def _log_uncaught_errors() -> None:
    """Logs uncaught errors. Python itself would print them without redaction and escapes."""
    logger = logging.getLogger("roomcast.uncaught")
    logging.captureWarnings(True)
    sys.excepthook = lambda *error: logger.critical("an uncaught error", exc_info=error)
    threading.excepthook = lambda args: _in_thread(logger, args)
    sys.unraisablehook = lambda args: logger.error(
        "%s: %r", args.err_msg or "an error that cannot be raised", args.object, exc_info=args.exc_value
    )


def _in_thread(logger: logging.Logger, args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        logger.error("a thread ended with an error", exc_info=args.exc_value)
