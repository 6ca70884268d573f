"""Listening sockets that systemd has opened and passes to this process: sd_listen_fds(3).

systemd keeps them open while the server restarts, so that new connections wait and are not refused."""

from __future__ import annotations

import os
import socket

from roomcast.model.errors import CannotStart
from roomcast.serve.listen import BACKLOG, UNIX, Endpoint, tune

_FIRST = 3
"""The number of the first descriptor, after the three standard files."""
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def passed_sockets(slow_after: float) -> list[Endpoint]:
    """The passed sockets, in the order of the unit; empty if there are none. Child processes find none. A
    connection that takes no data is cut after `slow_after` seconds. Raises `CannotStart`."""
    pid, number, _ = (os.environ.pop(name, "") for name in _VARIABLES)
    if pid != str(os.getpid()) or not number.isdecimal():  # there are none, or they are the parent program's
        return []
    return [_endpoint(descriptor, slow_after) for descriptor in range(_FIRST, _FIRST + int(number))]


def _endpoint(descriptor: int, slow_after: float) -> Endpoint:
    listener = _listener(descriptor)
    os.set_inheritable(descriptor, False)
    listener.listen(BACKLOG)
    if listener.family == socket.AF_UNIX:
        listener.setblocking(False)
        path = listener.getsockname()
        return Endpoint([listener], f"{UNIX}{path}", 0, path)
    tune(listener, slow_after)
    host, port = listener.getsockname()[:2]
    return Endpoint([listener], host, port)


def _listener(descriptor: int) -> socket.socket:
    try:
        listener = socket.socket(fileno=descriptor)
        streams = listener.type == socket.SOCK_STREAM
        if streams and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return listener
    except OSError:
        pass
    raise CannotStart(
        f"descriptor {descriptor} from systemd is not a listening stream socket: use ListenStream= and Accept=no "
        "in the .socket unit"
    )
