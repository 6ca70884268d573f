"""The log lines of `roomcast serve`, on their way to standard error.

A thread of their own writes them, many at once: a terminal or pipe that nobody reads must not hold up the loop,
and a wake-up for each line would cost more than the request that it is about. The loop renders the lines about
requests, as a thread that did would compete with it for the interpreter's lock. The thread renders all others: a
traceback reads files.
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
"""More than these are dropped: a stuck terminal is no reason to grow."""
_GATHER_SECONDS = 0.05
"""How long the first of several lines waits for the others: nobody sees it, and at full speed thousands gather. A
warning is written at once."""
_LAST_LINES_SECONDS = 1.0
"""How long the last of them may take to be read: a stuck terminal is no reason not to end either."""


def log_to_stderr(format: str, requests: bool, level: str = "info", process: str = "") -> Lines:
    """Takes all lines of this process from now on, also other libraries' warnings and errors that nobody caught.
    `format` is text or json, `requests` whether each request and the end of each stream has a line, `level` the
    least that is written: debug, info, warning or error. `process` is named in each line, where there are
    several."""
    lines = Lines(rendering_of(format, process))
    others = _handle(_Handler(lines.add), level)
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it warns of each request that it cannot parse
    for name in (access.LOGGER, "roomcast.streams"):
        logging.getLogger(name).setLevel(logging.NOTSET if requests else others)
    access.write_to(lines.add_request if access.noted() else None)
    _take_what_nobody_caught()
    return lines


def log_at_once(format: str, level: str) -> None:
    """The same for a process with few lines and no threads: each is written when it comes, or dropped where nobody
    reads."""
    rendering = rendering_of(format, "")
    _handle(_Handler(lambda record: _say_if_read(rendered(rendering, record))), level)


def _handle(handler: logging.Handler, level: str) -> int:
    """Gives all lines to a handler. Returns the least level that others than roomcast have a line for."""
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
    """A line on standard error, or nowhere: a pipe whose reader has ended, or a terminal that was closed, is no
    reason to stop. Not by `sys.stderr`, which keeps what it could not write, and fails of it again at the end."""
    _write(f"{line}\n".encode(errors="backslashreplace"))


class Lines:
    """Lines on their way to standard error. Any thread may add some."""

    def __init__(self, rendering: Rendering) -> None:
        self._rendering = rendering
        self._waiting: deque[str | logging.LogRecord] = deque()
        self._idle = False
        """Whether the thread sleeps until it is woken. It sets this before it looks for lines a last time, so that
        whoever added one after that look finds it set."""
        self._wake = threading.Event()
        self._hurry = threading.Event()
        """Set where what waits must not wait for more."""
        self._ending = False
        self._counting = threading.Lock()
        """Held for an increment only."""
        self._dropped = 0
        self._told = 0
        """How many of the dropped lines a line has told of."""
        self._thread = threading.Thread(target=self._run, name="lines", daemon=True)
        self._thread.start()
        atexit.register(self.end)

    def add_request(
        self, client: str, method: str, target: str, status: int, seconds: float, principal: str, /
    ) -> None:
        """The line of a request: see `access.note`."""
        waiting = self._waiting
        if len(waiting) >= _WAITING_LINES:
            self._drop()
            return
        waiting.append(self._rendering.request(client, method, target, status, seconds, principal))
        if self._idle:
            self._wake_up()

    def add(self, record: logging.LogRecord) -> None:
        """Any other line."""
        if len(self._waiting) >= _WAITING_LINES:
            self._drop()
            return
        self._waiting.append(record)
        if record.levelno >= logging.WARNING:
            self._hurry.set()
        if self._idle:
            self._wake_up()

    def end(self) -> None:
        """Returns when all is written, or after a second."""
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
            dropped = self._dropped  # whatever is taken now came before them
            taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
            lines = [one if isinstance(one, str) else rendered(self._rendering, one) for one in taken]
            _write("".join([f"{line}\n" for line in lines + self._told_of(dropped)]).encode())

    def _sleep(self) -> None:
        """Until there are lines, and a little longer, for more."""
        self._idle = True
        if not self._waiting:
            self._wake.wait()
        self._idle = False
        self._wake.clear()
        self._hurry.wait(_GATHER_SECONDS)
        self._hurry.clear()

    def _told_of(self, dropped: int) -> list[str]:
        missing, self._told = dropped - self._told, dropped
        if not missing:
            return []
        message = f"{missing} lines are missing here: standard error was not read fast enough"
        return [self._rendering.line(time.time(), "warning", "roomcast.lines", message, {"dropped": missing}, "")]


class _Handler(logging.Handler):
    """Python's logging, into our lines."""

    def __init__(self, add: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._add = add

    def emit(self, record: logging.LogRecord) -> None:
        self._add(record)


def _write(data: bytes) -> None:
    """All of it, or what is taken."""
    at = 0
    try:
        piece = select.PIPE_BUF if stat.S_ISFIFO(os.fstat(2).st_mode) else len(data)
        while at < len(data):
            # Whole lines: of several processes on one pipe, pieces up to PIPE_BUF do not mix (POSIX, write()).
            end = data.rfind(b"\n", at, at + piece) + 1 or data.find(b"\n", at) + 1
            try:
                at += os.write(2, data[at:end])
            except BlockingIOError:  # another process that has this terminal or pipe, too, made it so
                select.select([], [2], [])
    except OSError:
        return


def _take_what_nobody_caught() -> None:
    """Python would print it as it is, past the redaction and the escapes."""
    logger = logging.getLogger("roomcast.uncaught")
    logging.captureWarnings(True)
    sys.excepthook = lambda *error: logger.critical("an error that nobody caught", exc_info=error)
    threading.excepthook = lambda args: _in_thread(logger, args)
    sys.unraisablehook = lambda args: logger.error(
        "%s: %r", args.err_msg or "an error that cannot be raised", args.object, exc_info=args.exc_value
    )


def _in_thread(logger: logging.Logger, args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        logger.error("a thread ended with an error", exc_info=args.exc_value)
