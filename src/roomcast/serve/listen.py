"""The ports that `roomcast serve` listens on. `socket_file` opens the socket of a file, and `activation` takes
those that systemd has opened."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from roomcast.model import file_limit
from roomcast.model.errors import CannotStart
from roomcast.model.loopback import is_loopback

_SNDBUF = 64 * 1024
"""Send buffer of each connection, in bytes. The kernel would let it grow to 4.3 MB for a client that never reads,
as measured."""
_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
BACKLOG = 4096
"""Connections that may wait in the kernel until they are accepted."""
_DYING_SECONDS = 1.0
"""How long the workers of a killed server may keep its port."""
_FEWEST_FILES = 64
"""With some 20 files the server begins to start, and then fails at a random place."""

UNIX = "unix:"
"""Prefix of a `--host` that is the path of a socket file."""


class Endpoint(NamedTuple):
    """The sockets of one port, or the one socket of a file."""

    sockets: Sequence[socket.socket]
    host: str
    """As `--host` names it."""
    port: int = 0
    """0 for a socket file."""
    path: str = ""
    """The socket file; empty for a port."""
    inode: int = 0
    """The number of that file; 0 if somebody else removes it."""

    def remove(self) -> None:
        """Removes the file, unless another is in its place by now. New connections are refused from then on."""
        with contextlib.suppress(OSError):
            if self.path and os.lstat(self.path).st_ino == self.inode:
                os.unlink(self.path)


def raise_file_limit() -> None:
    """Raises the file limit as far as allowed, since a connection is a file. Raises `CannotStart` if it is too
    low."""
    files = file_limit.raise_file_limit()
    if files < _FEWEST_FILES:
        raise CannotStart(f"only {files} files may be open at once: allow more, such as by ulimit -n 65536")


def bind(host: str, port: int, slow_after: float, option: str, *, shared: bool = False) -> Endpoint:
    """Listens on all addresses that `host` names, on one port. A connection that takes no data is cut after
    `slow_after` seconds. With `shared`, other `shared` sockets may use the same port. Raises `CannotStart`, naming
    the `option` that changes the port."""
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses(host):
            sockets.append(_bound(family, address, port, slow_after, shared))
            port = sockets[-1].getsockname()[1]
    except OSError as error:
        for bound in sockets:
            bound.close()
        raise CannotStart(_why(error, host, port, option)) from None
    return Endpoint(sockets, host, port)


def bind_each(host: str, port: int, slow_after: float, option: str, number: int) -> list[Endpoint]:
    """Returns `number` endpoints between which the kernel distributes connections (SO_REUSEPORT). Only Linux does
    that; elsewhere the same endpoint is returned `number` times. `host`, `port`, `slow_after` and `option` are
    those of `bind`. Raises `CannotStart`."""
    if number == 1 or sys.platform != "linux":
        return [bind(host, port, slow_after, option)] * number
    if port:  # a second server would not be refused on a shared port
        for probe in _patiently(host, port, slow_after, option).sockets:
            probe.close()
    first = bind(host, port, slow_after, option, shared=True)
    others = [bind(host, first.port, slow_after, option, shared=True) for _ in range(number - 1)]
    return [first, *others]


def _patiently(host: str, port: int, slow_after: float, option: str) -> Endpoint:
    """Like `bind`, but waits a moment for a port in use: the workers of a killed server end shortly after it."""
    end = time.monotonic() + _DYING_SECONDS
    while True:
        try:
            return bind(host, port, slow_after, option)
        except CannotStart:
            if time.monotonic() > end:
                raise
        time.sleep(_DYING_SECONDS / 20)


def check_unreachable(host: str) -> None:
    """Raises `CannotStart` if users of other machines could connect to `host`. A socket file counts as reachable:
    a proxy may pass their requests on."""
    if host.startswith(UNIX) or not all(is_loopback(address) for _, address in addresses(host)):
        raise CannotStart(
            f"{host} can be reached by others, and nobody has said who may read and publish: give --config with "
            "rights, or --secret-file, or --open if everybody may"
        )


def addresses(host: str) -> Sequence[tuple[int, str]]:
    """The families and addresses that a host names. Raises `CannotStart`.

    For localhost the hosts file is not read: on many machines it has only one of the two addresses."""
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


def _bound(family: int, address: str, port: int, slow_after: float, shared: bool) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((address, port))
        tune(bound, slow_after)
        bound.listen(BACKLOG)  # from now on the port is refused to a second server
    except OSError:
        bound.close()
        raise
    return bound


def tune(listener: socket.socket, slow_after: float) -> None:
    """Sets the options of a TCP listener, which its connections inherit without a call of their own. The kernel
    cuts a connection that takes no data for `slow_after` seconds."""
    listener.setblocking(False)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SNDBUF)
    if _TCP_USER_TIMEOUT is not None:
        listener.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, int(slow_after * 1000))


def _why(error: OSError, host: str, port: int, option: str) -> str:
    if error.errno == errno.EADDRINUSE:
        what_to_do = f"stop it, or choose another port with {option}"
        return f"port {port} on {host} is taken by another program: {what_to_do}"
    if error.errno == errno.EACCES:
        return f"port {port} may not be used by this user: choose one from 1024 on with {option}"
    return f"cannot listen on {host} port {port} ({error.strerror}): use localhost or 0.0.0.0"
