"""The messages between a supervisor and its child processes: four bytes of length, a pickled order, and with a
`Connect` a socket. The end of the channel means that the other side is gone."""

from __future__ import annotations

import pickle
import socket
from collections import deque
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from roomcast.model.settings import Settings

_LENGTH = Struct("!I")
_READ_BYTES = 256 * 1024
_FILES = 64
"""Most sockets received by one read."""
_SEND_SECONDS = 1.0
"""A child whose channel is full for so long is taken to hang."""


class Connect(NamedTuple):
    """To both ends: a connection between a worker and the log process. The socket comes with it."""

    worker: int


class Prepare(NamedTuple):
    """To all: prepare these settings. The answer is a `Prepared` with this number."""

    number: int
    settings: Settings


class Commit(NamedTuple):
    """To all: put the prepared settings in force."""


class Forget(NamedTuple):
    """To all: discard the prepared settings."""


class Drain(NamedTuple):
    """To all: end in order."""


class Ping(NamedTuple):
    """To all: does the loop turn? The answer is a `Pong`."""


class Pong(NamedTuple):
    """From a process whose loop turns."""


class Ready(NamedTuple):
    """From a process that has started."""

    said: str = ""
    """The banner's text about the log."""


class Failed(NamedTuple):
    """From a process that cannot start."""

    detail: str
    bad_option: bool


class Prepared(NamedTuple):
    """From a process that was given settings."""

    number: int
    refused: str
    """Why the settings are refused; empty if they are accepted."""


class Wanted(NamedTuple):
    """From a worker that needs a connection to the log process."""


Order = Connect | Prepare | Commit | Forget | Drain | Ping | Pong | Ready | Failed | Prepared | Wanted


class Channel:
    """One end of the connection between the supervisor and a child."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        connected.setblocking(False)
        self._data = b""
        self._files: deque[int] = deque()
        self.ended = False
        """Whether the other side is gone."""

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Both ends of a new channel."""
        ours, theirs = socket.socketpair()
        return cls(ours), cls(theirs)

    def send(self, order: Order, file: int | None = None) -> None:
        """Sends an order, with a file descriptor if given. Raises `OSError` if the other side is gone, and
        `TimeoutError` if it hangs; the channel is unusable after that."""
        data = pickle.dumps(order)
        data = _LENGTH.pack(len(data)) + data
        self.socket.settimeout(_SEND_SECONDS)
        try:
            if file is not None:
                sent = socket.send_fds(self.socket, [data], [file])
                data = data[sent:]
            self.socket.sendall(data)
        finally:
            self.socket.setblocking(False)

    def receive(self) -> Iterator[tuple[Order, int | None]]:
        """The received orders, each with the descriptor of its socket if it has one. Call it when the channel is
        readable."""
        try:
            data, files, _, _ = socket.recv_fds(self.socket, _READ_BYTES, _FILES)
        except BlockingIOError:
            return
        except OSError:
            data, files = b"", []
        self.ended = not data
        self._files.extend(files)
        self._data += data
        while len(self._data) >= 4:
            end = 4 + _LENGTH.unpack_from(self._data)[0]
            if len(self._data) < end:
                return
            order: Order = pickle.loads(self._data[4:end])
            self._data = self._data[end:]
            yield order, self._files.popleft() if isinstance(order, Connect) else None

    def close(self) -> None:
        self.ended = True
        self.socket.close()
