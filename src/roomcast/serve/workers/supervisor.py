"""The supervisor: starts the log process and the workers, connects them, passes signals on, and restarts a process
that ended. It owns the listening sockets, so connections that wait for a dead worker go to its successor.

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count

from roomcast.model.errors import BadOption, CannotStart, RoomcastError
from roomcast.model.settings import Settings
from roomcast.serve.listen import Listening
from roomcast.serve.reload import Commit as Change
from roomcast.serve.reload import Reload
from roomcast.serve.systemd import ALIVE, READY, STOPPING, notify, reloading, watchdog_seconds
from roomcast.serve.workers import watch
from roomcast.serve.workers.child import LOG, Child, Main, fork
from roomcast.serve.workers.orders import (
    Commit,
    Drain,
    Failed,
    Forget,
    Order,
    Pong,
    Prepare,
    Prepared,
    Ready,
    Wanted,
)

_END_SECONDS = 9.0
"""How long all processes may take to end: two answers' patience, and less than the 10 s of `docker stop`."""
_PREPARE_SECONDS = 10.0
"""How long all processes may take to accept new settings."""
_LEAST_LIFE = 1.0
"""Seconds. A process that lived shorter is restarted only after this delay, since it may fail again and again."""

logger = logging.getLogger("roomcast.server")


class Supervisor:
    """All processes of one server."""

    def __init__(
        self,
        settings: Settings,
        mains: Mapping[int, Callable[[Settings], Main]],
        listening: Mapping[int, Sequence[Listening]],
        reload: Reload,
        started: Callable[[str], None],
    ) -> None:
        """`mains` make the processes' main functions from the settings in force, by process number. `listening`
        are the sockets of each worker. `started` is called once, with the log process's text about its log."""
        self._settings = settings
        self._mains = mains
        self._listening = dict(listening)
        self._reload = reload
        self._started = started
        self._children: dict[int, Child] = {}
        self._again: dict[int, float] = {}
        """When each ended process is restarted, in monotonic seconds."""
        self._wanting: set[int] = set()
        """Workers without a connection to the log process."""
        self._held = ""
        self._serving = False
        """Whether all have started once."""
        self._ending = 0.0
        """When processes that have not ended are killed; 0 while the server runs."""
        self._status = 0
        self._failed: CannotStart | None = None
        self._preparing: Preparing | None = None
        self._asked_to_reload = False
        self._watchdog = watchdog_seconds()
        self._feed_at = 0.0
        """When systemd is told that this process is alive."""
        self._look_at = 0.0
        """When all processes are asked whether they still answer."""
        self._selector = selectors.DefaultSelector()
        self._signals, wake = socket.socketpair()
        for one in (self._signals, wake):
            one.setblocking(False)
        self._wake = wake

    def run(self) -> int:
        """Runs until a signal. Returns the exit status. Raises `CannotStart`."""
        self._take_signals()
        self._selector.register(self._signals, selectors.EVENT_READ, self._signalled)
        self._start(LOG)
        try:
            while self._children or not self._ending:
                self._turn()
        finally:
            for child in self._children.values():
                child.kill()
        if self._failed:
            raise self._failed
        return self._status

    def _take_signals(self) -> None:
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)

    def _turn(self) -> None:
        for key, _ in self._selector.select(self._pause()):
            key.data()
        now = time.monotonic()
        if self._ending and now >= self._ending:
            logger.warning("%s did not end in time", ", ".join(one.name for one in self._children.values()))
            self._kill()
        if self._preparing and now >= self._preparing.until:
            self._refuse(f"{', '.join(one.name for one in self._preparing.missing)} did not answer")
        for number in [number for number, when in self._again.items() if when <= now]:
            self._start(number)
        if self._watches and now >= self._look_at:
            self._look_at = now + watch.LOOK_SECONDS
            self._end_what_hangs()
        if self._watchdog and now >= self._feed_at:
            self._feed_at = now + self._watchdog / 2
            notify(ALIVE)

    def _pause(self) -> float | None:
        moments = [*self._again.values(), *([self._ending] if self._ending else [])]
        if self._preparing:
            moments.append(self._preparing.until)
        if self._watches:
            moments.append(self._look_at)
        if self._watchdog:
            moments.append(self._feed_at)
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    @property
    def _watches(self) -> bool:
        """Whether processes that hang are found out: while all end, `_ending` is what ends them."""
        return self._serving and not self._ending

    # Processes

    def _start(self, number: int) -> None:
        self._again.pop(number, None)
        if self._ending:
            return
        own = _sockets(self._listening.get(number, ()))
        alone = [
            *(child.channel.close for child in self._children.values()),
            *(one.close for sets in self._listening.values() for one in _sockets(sets) if one not in own),
            *(self._signals.close, self._wake.close, self._selector.close),
        ]
        if self._preparing:  # a new process does not know the pending settings: send them to all again
            self._drop_reload()
            self._asked_to_reload = True
        child = self._children[number] = fork(number, self._mains[number](self._settings), alone)
        self._selector.register(child.channel.socket, selectors.EVENT_READ, lambda: self._listen_to(child))
        if number == LOG:
            for worker in list(self._wanting):
                self._connect(worker)
        else:
            self._connect(number)

    def _connect(self, worker: int) -> None:
        """Gives a worker and the log process the two ends of a connection."""
        self._wanting.add(worker)
        if LOG in self._children and worker in self._children:
            self._wanting.discard(worker)
            ends = socket.socketpair()
            for end, number in zip(ends, (worker, LOG), strict=True):
                self._children[number].connect(worker, end.fileno())
                end.close()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for child in [child for child in self._children.values() if child.pid == pid]:
                self._listen_to(child)  # its last words
                self._ended(child, os.waitstatus_to_exitcode(status))

    def _ended(self, child: Child, status: int) -> None:
        del self._children[child.number]
        self._forget_channel(child)
        child.channel.close()
        if self._ending:
            self._close_listeners(child.number)
            self._end_log()
        elif not self._serving:
            self._fail(CannotStart(f"{child.name} {_how(status)} at its start"))
        else:
            now = time.monotonic()
            if not child.hangs:  # otherwise it was said
                logger.warning("%s (process %d) %s and is started again", child.name, child.pid, _how(status))
            soon = now - child.began >= _LEAST_LIFE
            self._again[child.number] = now if soon else now + _LEAST_LIFE
        if self._preparing:
            self._preparing.missing.discard(child)
            self._conclude()

    def _end_what_hangs(self) -> None:
        """Kills it: SIGTERM would wait for its loop. The rest is as with any process that ends (`_ended`)."""
        for child in watch.look(self._children.values()):
            logger.warning(
                "%s (process %d) has answered nothing for %.0f s: it is killed, and another one takes its place "
                "and its waiting connections. See whether it was stopped or the machine swaps; if not, report it",
                *(child.name, child.pid, watch.UNANSWERED * watch.LOOK_SECONDS),
            )
            child.kill()

    def _close_listeners(self, worker: int) -> None:
        """Nobody takes connections from them any more; others do where they are the same."""
        for one in _sockets(self._listening.pop(worker, ())):
            if not any(one in _sockets(others) for others in self._listening.values()):
                one.close()

    # What they say

    def _listen_to(self, child: Child) -> None:
        if child.channel.ended:  # found out in this turn already, by its last words
            return
        for order, _ in child.channel.receive():
            self._hear(child, order)
        if child.channel.ended:
            self._forget_channel(child)

    def _forget_channel(self, child: Child) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(child.channel.socket)

    def _hear(self, child: Child, order: Order) -> None:
        if isinstance(order, Ready):
            child.ready = True
            self._note_ready(child, order)
        elif isinstance(order, Failed):
            self._hear_failure(child, order)
        elif isinstance(order, Pong):
            child.unanswered = 0
        elif isinstance(order, Wanted):
            self._connect(child.number)
        elif isinstance(order, Prepared) and self._preparing and order.number == self._preparing.number:
            if order.refused:
                self._refuse(order.refused)
            else:
                self._preparing.missing.discard(child)
                self._conclude()

    def _note_ready(self, child: Child, ready: Ready) -> None:
        if self._serving and self._asked_to_reload:
            self._begin_reload()
        if self._serving or self._ending:
            return
        if child.number == LOG:
            self._held = ready.said
            self._settings = _once(self._settings)
            for number in self._mains:
                if number != LOG:
                    self._start(number)
        elif len(self._children) == len(self._mains) and all(one.ready for one in self._children.values()):
            self._serving = True
            self._started(self._held)
            notify(READY)
            if self._asked_to_reload:
                self._begin_reload()

    def _hear_failure(self, child: Child, failed: Failed) -> None:
        if self._serving:
            logger.error("%s cannot start: %s", child.name, failed.detail)
        else:
            self._fail((BadOption if failed.bad_option else CannotStart)(failed.detail))

    def _fail(self, error: CannotStart) -> None:
        """The server cannot start."""
        self._failed = self._failed or error
        self._ending = self._ending or time.monotonic() + _END_SECONDS
        self._kill()

    # Signals

    def _signalled(self) -> None:
        try:
            numbers = self._signals.recv(4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP:
                self._asked_to_reload = True
                self._begin_reload()
            elif number in (signal.SIGTERM, signal.SIGINT):
                self._end(number)

    def _end(self, number: int) -> None:
        if self._ending:
            self._status = 128 + number
            self._kill()
            return
        self._ending = time.monotonic() + _END_SECONDS
        notify(STOPPING)
        for child in self._children.values():
            if child.number != LOG:
                child.order(Drain())
        self._end_log()

    def _end_log(self) -> None:
        """The log process ends behind the workers."""
        if [*self._children] == [LOG]:
            self._children[LOG].order(Drain())

    def _kill(self) -> None:
        for child in self._children.values():
            child.kill()

    # SIGHUP

    def _begin_reload(self) -> None:
        if self._preparing or not self._serving or self._ending:
            return
        self._asked_to_reload = False
        notify(reloading())
        try:
            settings, changes = self._reload.prepare()
        except RoomcastError as error:
            self._refuse(error.detail)
            return
        self._preparing = Preparing(settings, changes, set(self._children.values()))
        for child in self._children.values():
            child.order(Prepare(self._preparing.number, settings))

    def _conclude(self) -> None:
        """All are agreed: the settings count from now on."""
        if self._preparing is None or self._preparing.missing:
            return
        preparing, self._preparing = self._preparing, None
        for child in self._children.values():
            child.order(Commit())
        for change in preparing.changes:
            change()
        self._settings = _once(preparing.settings)
        logger.info("%s", self._reload.taken_over(preparing.settings))
        notify(READY)
        if self._asked_to_reload:
            self._begin_reload()

    def _refuse(self, why: str) -> None:
        self._drop_reload()
        logger.warning("the configuration stays as it was: %s", why)
        notify(READY)
        if self._asked_to_reload:
            self._begin_reload()

    def _drop_reload(self) -> None:
        self._preparing = None
        for child in self._children.values():
            child.order(Forget())


class Preparing:
    """New settings that not all have agreed to."""

    _numbers = count(1)

    def __init__(self, settings: Settings, changes: Sequence[Change], missing: set[Child]) -> None:
        self.number = next(self._numbers)
        self.settings = settings
        self.changes = changes
        """The supervisor's own, for processes that it forks later."""
        self.missing = missing
        self.until = time.monotonic() + _PREPARE_SECONDS
        """In monotonic time."""


def _sockets(listening: Sequence[Listening]) -> list[socket.socket]:
    return [one for port in listening for one in port.sockets]


def _once(settings: Settings) -> Settings:
    """Without what is to be done at the start alone."""
    return replace(settings, new_epoch=False)


def _how(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was ended by {signal.Signals(-status).name}"
