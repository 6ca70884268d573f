"""The supervisor: starts the log process and the workers, connects them, passes signals on, and restarts a process
that ended or hangs.

It has no event loop, no threads and no log, and serves nothing, since it must not fail.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from roomcast.model.errors import BadOption, CannotStart
from roomcast.model.settings import Settings
from roomcast.serve.listen import Endpoint
from roomcast.serve.reload import Reload
from roomcast.serve.systemd import ALIVE, READY, STOPPING, notify, watchdog_seconds
from roomcast.serve.workers import watch
from roomcast.serve.workers.child import LOG_PROCESS, Child, Main, fork
from roomcast.serve.workers.orders import (
    Drain,
    Keep,
    NeedsLog,
    Past,
    Pong,
    Report,
    StartDone,
    StartFailed,
    Verdict,
)
from roomcast.serve.workers.reloading import Reloading
from roomcast.serve.workers.signals import Signals
from roomcast.serve.workers.worker_sockets import WorkerSockets

_END_SECONDS = 9.0
"""How long all processes may take to end: less than the 10 s of `docker stop`."""
_MIN_LIFE_SECONDS = 1.0
"""A process that lived for less than this is restarted only after as long a delay: it may fail repeatedly."""

Mains = Mapping[int, Callable[[Settings, Past], Main]]
"""By process number: returns the main function of a process, given the settings in force and the past of that
number."""

logger = logging.getLogger("roomcast.server")


class Supervisor:
    """All processes of one server."""

    def __init__(
        self,
        settings: Settings,
        mains: Mains,
        endpoints: Mapping[int, Sequence[Endpoint]],
        reload: Reload,
        started: Callable[[str], None],
    ) -> None:
        """`endpoints` are those of each worker; `started` is called once, with a text about the log."""
        self._settings = settings
        self._mains = mains
        self._sockets = WorkerSockets(endpoints)
        self._started = started
        self._children: dict[int, Child] = {}
        self._past: defaultdict[int, Past] = defaultdict(Past)
        """The earlier processes of each number."""
        self._restart_at: dict[int, float] = {}
        """When each ended process is restarted, in monotonic seconds."""
        self._unconnected: set[int] = set()
        """Workers without a connection to the log process."""
        self._log_contents = ""
        """The log process's text about its log."""
        self._serving = False
        """Whether all processes have started once."""
        self._ending = 0.0
        """When processes that have not ended are killed; 0 while the server runs."""
        self._status = 0
        self._failed: CannotStart | None = None
        self._reloading = Reloading(reload, self._children, self._use)
        self._watchdog = watchdog_seconds()
        self._feed_at = 0.0
        """When systemd is next told that this process is alive."""
        self._look_at = 0.0
        """When all processes are next asked whether they still answer."""
        self._selector = selectors.DefaultSelector()
        self._signals = Signals()

    def run(self) -> int:
        """Runs until a signal. Returns the exit status. Raises `CannotStart`."""
        self._signals.take()
        self._selector.register(self._signals.socket, selectors.EVENT_READ, self._hear_signals)
        self._start(LOG_PROCESS)
        try:
            while self._children or not self._ending:
                self._turn()
        finally:
            self._kill()
        if self._failed:
            raise self._failed
        return self._status

    # Turns

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._pause()):
            key.data()
        now = time.monotonic()
        if self._ending and now >= self._ending:
            names = ", ".join(one.name for one in self._children.values())
            logger.warning("%s did not end in time and is killed: nothing needs to be done", names)
            self._kill()
        for number in [number for number, when in self._restart_at.items() if when <= now]:
            self._restart(number)
        if self._is_running:
            self._reloading.turn(now)
            if now >= self._look_at:
                self._look_at = now + watch.PING_SECONDS
                self._kill_hung()
        if self._watchdog and now >= self._feed_at:
            self._feed_at = now + self._watchdog / 2
            notify(ALIVE)

    def _pause(self) -> float | None:
        """Seconds until something is due."""
        moments = [*self._restart_at.values(), *filter(None, [self._ending, self._reloading.until])]
        if self._is_running:
            moments.append(self._look_at)
        if self._watchdog:
            moments.append(self._feed_at)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    @property
    def _is_running(self) -> bool:
        """Whether the server has started and does not end yet."""
        return self._serving and not self._ending

    # Processes

    def _restart(self, number: int) -> None:
        del self._restart_at[number]
        if not self._ending:
            past = self._past[number]
            self._past[number] = past._replace(restarts=past.restarts + 1)
            self._start(number)

    def _start(self, number: int) -> None:
        self._reloading.restart()
        close = [
            *(child.channel.close for child in self._children.values()),
            *self._sockets.closers_for(number),
            *(self._signals.close, self._selector.close),
        ]
        main = self._mains[number](self._settings, self._past[number])
        child = self._children[number] = fork(number, main, close)
        self._selector.register(child.channel.socket, selectors.EVENT_READ, lambda: self._listen_to(child))
        for worker in [*self._unconnected] if number == LOG_PROCESS else [number]:
            self._connect(worker)

    def _connect(self, worker: int) -> None:
        """Gives a worker and the log process the two ends of a connection, as soon as both run."""
        self._unconnected.add(worker)
        if LOG_PROCESS in self._children and worker in self._children:
            self._unconnected.discard(worker)
            ends = socket.socketpair()
            for end, number in zip(ends, (worker, LOG_PROCESS), strict=True):
                self._children[number].connect(worker, end.fileno())
                end.close()

    def _reap(self) -> None:
        """Notes which processes have ended."""
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for child in [child for child in self._children.values() if child.pid == pid]:
                self._listen_to(child)  # it may have reported why
                past = self._past[child.number]
                spent = past.cpu_seconds + used.ru_utime + used.ru_stime
                self._past[child.number] = past._replace(cpu_seconds=spent)
                self._note_end(child, os.waitstatus_to_exitcode(status))

    def _note_end(self, child: Child, status: int) -> None:
        del self._children[child.number]
        self._forget_channel(child)
        child.channel.close()
        self._reloading.leave(child)
        if self._ending:
            self._sockets.close(child.number)
            self._end_log()
        elif not self._serving:
            self._fail(CannotStart(f"{child.name} {_how(status)} at its start"))
        else:
            if not child.hangs:  # otherwise it was already logged
                logger.warning(_ENDED, child.name, child.pid, _how(status))
            now = time.monotonic()
            delay = 0.0 if now - child.began >= _MIN_LIFE_SECONDS else _MIN_LIFE_SECONDS
            self._restart_at[child.number] = now + delay

    def _kill_hung(self) -> None:
        """Kills hung processes: SIGTERM would wait for their loop. `_note_end` restarts them, as any that end."""
        for child in watch.find_hung(self._children.values()):
            logger.warning(_HANGS, child.name, child.pid, watch.MAX_UNANSWERED * watch.PING_SECONDS)
            child.kill()

    def _kill(self) -> None:
        for child in self._children.values():
            child.kill()

    # Their reports

    def _listen_to(self, child: Child) -> None:
        if child.channel.ended:  # already found in this turn, by `_reap`
            return
        for report, _ in child.channel.receive():
            self._hear(child, report)
        if child.channel.ended:
            self._forget_channel(child)

    def _forget_channel(self, child: Child) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(child.channel.socket)

    def _hear(self, child: Child, report: Report) -> None:
        if isinstance(report, StartDone):
            child.ready = True
            if not self._serving and not self._ending:
                self._go_on_starting(child, report)
        elif isinstance(report, StartFailed):
            self._hear_failure(child, report)
        elif isinstance(report, Pong):
            child.unanswered = 0
        elif isinstance(report, Keep):
            self._past[child.number] = self._past[child.number]._replace(kept=report.value)
        elif isinstance(report, NeedsLog):
            self._connect(child.number)
        elif isinstance(report, Verdict):
            self._reloading.hear(child, report)

    def _go_on_starting(self, child: Child, report: StartDone) -> None:
        """The workers start after the log process. When all have started, the server has started."""
        if child.number == LOG_PROCESS:
            self._log_contents = report.log
            self._use(self._settings)
            for number in self._mains:
                if number != LOG_PROCESS:
                    self._start(number)
        elif len(self._children) == len(self._mains) and all(one.ready for one in self._children.values()):
            self._serving = True
            self._started(self._log_contents)
            notify(READY)

    def _hear_failure(self, child: Child, failed: StartFailed) -> None:
        if self._serving:
            logger.error("%s cannot start, and is retried every second: %s", child.name, failed.detail)
        else:
            self._fail((BadOption if failed.bad_option else CannotStart)(failed.detail))

    def _use(self, settings: Settings) -> None:
        """Keeps the settings for later processes, without `new_epoch`: the first log process has begun it."""
        self._settings = replace(settings, new_epoch=False)

    def _fail(self, error: CannotStart) -> None:
        """Kills all processes, since the server cannot start. `run` then raises the first `error`."""
        self._failed = self._failed or error
        self._ending = self._ending or time.monotonic() + _END_SECONDS
        self._kill()

    # Signals

    def _hear_signals(self) -> None:
        for number in self._signals.received():
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP:
                self._reloading.request()
            else:
                self._end(number)

    def _end(self, number: int) -> None:
        if self._ending:
            self._status = 128 + number
            self._kill()
            return
        self._ending = time.monotonic() + _END_SECONDS
        notify(STOPPING)
        for child in self._children.values():
            if child.number != LOG_PROCESS:
                child.order(Drain())
        self._end_log()

    def _end_log(self) -> None:
        """The log process ends after the workers."""
        if [*self._children] == [LOG_PROCESS]:
            self._children[LOG_PROCESS].order(Drain())


_ENDED = "%s (process %d) %s and is started again: if nobody ended it, look for the reason in the lines before"
_HANGS = (
    "%s (process %d) has not answered for %.0f s: it is killed, and another one takes its place and its "
    "waiting connections. Check whether it was stopped or the machine swaps; if neither, report a bug"
)


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"
