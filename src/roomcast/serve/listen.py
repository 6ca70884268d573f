"""Sockets, signals and the HTTP server around a engine: `roomcast serve`."""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Sequence
from typing import NamedTuple

from roomcast.model.errors import CannotStart

_SNDBUF = 64 * 1024
"""Per connection; the kernel would let it grow to 4.3 MB for a client that never reads, as measured."""
_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
BACKLOG = 4096
_FEWEST_FILES = 64
"""With some 20 it begins to start, and then fails anywhere."""


class Listening(NamedTuple):
    """The sockets of one port."""

    sockets: Sequence[socket.socket]
    port: int


def raise_file_limit() -> None:
    """A connection is a file: takes what the process may have. Raises `CannotStart` where that is hardly any."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= hard < _FEWEST_FILES:  # -1 is no limit
        raise CannotStart(f"only {hard} files may be open at once: allow more, such as by ulimit -n 65536")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def bind(host: str, port: int, slow_after: float, option: str) -> Listening:
    """Listens on all addresses that `host` names, on one port number. Raises `CannotStart`, with the `option` that
    changes the port."""
    addresses = _addresses(host)
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            sockets.append(_bound(family, address, port, slow_after))
            port = sockets[-1].getsockname()[1]
    except OSError as error:
        for bound in sockets:
            bound.close()
        raise CannotStart(_why(error, host, port, option)) from None
    return Listening(sockets, port)


def _addresses(host: str) -> Sequence[tuple[int, str]]:
    """Not the hosts file's word for localhost: on many machines it knows only one of the two."""
    if host == "localhost":
        return [(socket.AF_INET, "127.0.0.1"), *([(socket.AF_INET6, "::1")] if _has_ipv6() else [])]
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise CannotStart(f"--host {host} is not known ({error.strerror}): use localhost or 0.0.0.0") from None
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _bound(family: int, address: str, port: int, slow_after: float) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Set on the listener, these are inherited by each connection, at no call's cost.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SNDBUF)
        if _TCP_USER_TIMEOUT is not None:
            bound.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, int(slow_after * 1000))
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
        bound.listen(BACKLOG)  # only a listening socket is refused to a second server
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


def _why(error: OSError, host: str, port: int, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        what_to_do = f"stop it, or choose another port with {option}"
        return f"port {port} on {host} is taken by another program: {what_to_do}"
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this user: choose one from 1024 on with {option}"
    return f"cannot listen on {host} port {port} ({error.strerror}): use localhost or 0.0.0.0"
