"""The supervisor's orders to its child processes, and their reports: four bytes of length, a pickled object, and
with a `Connect` a socket. The end of the channel means that the other side is gone."""

from __future__ import annotations

import pickle
import socket
from collections import deque
from collections.abc import Iterator
from struct import Struct
from typing import Any, Generic, NamedTuple, TypeVar

from roomcast.model.settings import Settings

_LENGTH = Struct("!I")
_READ_BYTES = 256 * 1024
_FILES = 64
"""Maximum number of sockets received by one read."""
_SEND_SECONDS = 1.0
"""A child whose channel is full for this long counts as hung."""


class Connect(NamedTuple):
    """To both ends: a connection between a worker and the log process. The socket comes with it."""

    worker: int


class Prepare(NamedTuple):
    """To all: prepare these settings. The answer is a `Verdict` with this number."""

    number: int
    settings: Settings


class Apply(NamedTuple):
    """To all: put the prepared settings in force."""


class Forget(NamedTuple):
    """To all: discard the prepared settings."""


class Drain(NamedTuple):
    """To all: end in order."""


class Ping(NamedTuple):
    """To all: does the loop turn? The answer is a `Pong`."""


class Pong(NamedTuple):
    """From a process whose loop turns."""


class StartDone(NamedTuple):
    """From a process that has started."""

    log: str = ""
    """From the log process: the banner's text about the log."""


class StartFailed(NamedTuple):
    """From a process that cannot start."""

    detail: str
    """One sentence for the operator."""
    bad_option: bool
    """Whether an option is wrong, which has an exit status of its own."""


class Verdict(NamedTuple):
    """From a process that was told to prepare settings."""

    number: int
    """The number of the `Prepare`."""
    refused: str
    """Why the settings are refused; empty if they are accepted."""


class NeedsLog(NamedTuple):
    """From a worker that needs a connection to the log process."""


class Keep(NamedTuple):
    """From a process that wants its successor to have `value`."""

    value: Any


Order = Connect | Prepare | Apply | Forget | Drain | Ping
"""From the supervisor."""
Report = Pong | StartDone | StartFailed | Verdict | NeedsLog | Keep
"""From a child process."""
Sent = TypeVar("Sent", Order, Report)
Received = TypeVar("Received", Order, Report)


class Past(NamedTuple):
    """The earlier processes with the number of a new one, which is told of them."""

    restarts: int = 0
    """How many there were."""
    cpu_seconds: float = 0.0
    """The processor time of all of them."""
    kept: Any = None
    """The value of the last `Keep`; None if there was none."""


class Channel(Generic[Sent, Received]):
    """One end of the connection between the supervisor and a child."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        connected.setblocking(False)
        self._data = b""
        self._files: deque[int] = deque()
        self.ended = False
        """Whether the other side is gone."""

    @staticmethod
    def pair() -> tuple[Channel[Order, Report], Channel[Report, Order]]:
        """The supervisor's end of a new channel, and the child's."""
        ours, theirs = socket.socketpair()
        return Channel(ours), Channel(theirs)

    def send(self, message: Sent, file: int | None = None) -> None:
        """Sends a message, with a file descriptor if given. Raises `OSError` if the other side is gone, and
        `TimeoutError` if it hangs; the channel is unusable after that."""
        data = pickle.dumps(message)
        data = _LENGTH.pack(len(data)) + data
        self.socket.settimeout(_SEND_SECONDS)
        try:
            if file is not None:
                sent = socket.send_fds(self.socket, [data], [file])
                data = data[sent:]
            self.socket.sendall(data)
        finally:
            self.socket.setblocking(False)

    def receive(self) -> Iterator[tuple[Received, int | None]]:
        """The received messages, each with the descriptor of its socket if it has one. Call it when the channel is
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
            message: Received = pickle.loads(self._data[4:end])
            self._data = self._data[end:]
            yield message, self._files.popleft() if isinstance(message, Connect) else None

    def close(self) -> None:
        """Closes this end. The other one then finds the channel ended."""
        self.ended = True
        self.socket.close()
