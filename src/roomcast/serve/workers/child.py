"""A child process of the supervisor: how it is forked, and how it ends when the supervisor does."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable

from roomcast.model.errors import BadOption, CannotStart
from roomcast.serve.systemd import ignore_systemd
from roomcast.serve.workers.orders import Channel, Connect, Order, Report, StartFailed

_PR_SET_PDEATHSIG = 1
"""The option of prctl(2) that ends a child with its parent, on Linux. Elsewhere the end of the channel ends it."""
_PR_SET_NAME = 15
"""Sets the name that `ps -o comm` and `top` show."""
LOG_PROCESS = 0
"""The number of the process that owns the log; workers are counted from 1."""

Main = Callable[[Channel[Report, Order]], None]
"""The main function of a child. Raises `CannotStart`."""


class Child:
    """One process, as the supervisor sees it."""

    def __init__(self, number: int, pid: int, channel: Channel[Order, Report]) -> None:
        self.number = number
        self.pid = pid
        self.channel = channel
        self.began = time.monotonic()
        self.ready = False
        """Whether it has started."""
        self.unanswered = 0
        """How many questions in a row it has left unanswered."""
        self.hangs = False
        """Whether it was found to hang, and was killed."""

    @property
    def name(self) -> str:
        """The name of the process in log lines."""
        return "the log process" if self.number == LOG_PROCESS else f"worker {self.number}"

    def order(self, order: Order, file: int | None = None) -> bool:
        """Sends an order, with a file descriptor if given; returns whether it was sent. A child that reads nothing
        while its channel is full is killed, since it missed an order."""
        try:
            self.channel.send(order, file)
        except TimeoutError:
            self.kill()
        except OSError:  # it has ended, as SIGCHLD will report
            return False
        else:
            return True
        return False

    def connect(self, worker: int, file: int) -> None:
        """Gives the process its end of a connection between the log process and the `worker` of that number: the
        socket's descriptor `file`, which the caller closes."""
        self.order(Connect(worker), file)

    def kill(self) -> None:
        """Ends the process at once."""
        os.kill(self.pid, signal.SIGKILL)


def fork(number: int, main: Main, close: Iterable[Callable[[], object]]) -> Child:
    """Starts the process `number`, which runs `main`. It first calls the functions of `close`, which close what
    only the supervisor needs.

    Fork without exec: imports are shared, a successor starts within milliseconds, and it inherits the listening
    sockets. This is safe because the supervisor has neither an event loop nor threads."""
    ours, theirs = Channel.pair()
    parent = os.getpid()
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page that holds an object
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _detach_from_supervisor(parent, f"roomcast {number or 'log'}", [ours.close, *close])
            status = _run(main, theirs)
        except SystemExit:
            pass
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    theirs.close()
    return Child(number, pid, ours)


def _detach_from_supervisor(parent: int, name: str, close: Iterable[Callable[[], object]]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor orders the reload
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    if sys.platform == "linux":
        prctl = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        prctl(_PR_SET_NAME, name.encode())
    ignore_systemd()
    if os.getppid() != parent:  # the supervisor died before prctl
        os._exit(1)
    for one in close:
        one()


def _run(main: Main, channel: Channel[Report, Order]) -> int:
    try:
        main(channel)
    except CannotStart as error:
        channel.send(StartFailed(error.detail, isinstance(error, BadOption)))
        return 1
    return 0
