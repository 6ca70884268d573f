"""Signals for a process without an event loop: they arrive as bytes on a socket, so that `select` wakes up."""

from __future__ import annotations

import signal
import socket
from collections.abc import Sequence

_TAKEN = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_READ_BYTES = 4096


class Signals:
    """The signals that this process takes from `take` on."""

    def __init__(self) -> None:
        self.socket, self._wake = socket.socketpair()
        """Readable when signals have arrived."""
        for one in (self.socket, self._wake):
            one.setblocking(False)

    def take(self) -> None:
        """Replaces what the signals do by default."""
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        for number in _TAKEN:
            signal.signal(number, lambda *_: None)

    def received(self) -> Sequence[int]:
        """The numbers of the signals that arrived since the last call, in order."""
        try:
            return self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return ()

    def close(self) -> None:
        """Closes both sockets: for a child, which takes signals in its own way."""
        self.socket.close()
        self._wake.close()
