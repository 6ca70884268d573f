"""The sockets that `roomcast serve` listens on."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import socket
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from roomcast.model.errors import CannotStart
from roomcast.model.loopback import is_loopback

_SNDBUF = 64 * 1024
"""Bytes per connection. The kernel would let it grow to 4.3 MB for a client that never reads, as measured."""
_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
BACKLOG = 4096
_DYING_SECONDS = 1.0
_FEWEST_FILES = 64
"""With some 20 files the server begins to start, and then fails at a random place."""


UNIX = "unix:"
"""Prefix of a `--host` that is the path of a socket file."""
_UNIX_UMASK = 0o117
"""Mode 0660: every user who may write to the file may use the API."""


class Listening(NamedTuple):
    """The sockets of one port, or the one of a file."""

    sockets: Sequence[socket.socket]
    port: int
    path: str = ""
    """The socket file; empty where there is none."""
    inode: int = 0
    """Of that file."""

    def remove(self) -> None:
        """Removes the file, if it is still this one. New connections are refused from then on."""
        with contextlib.suppress(OSError):
            if self.path and os.lstat(self.path).st_ino == self.inode:
                os.unlink(self.path)


def raise_file_limit() -> None:
    """Raises the file limit as far as allowed, since a connection is a file. Raises `CannotStart` if it is too
    low."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if 0 <= hard < _FEWEST_FILES:  # -1 is no limit
        raise CannotStart(f"only {hard} files may be open at once: allow more, such as by ulimit -n 65536")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def bind(host: str, port: int, slow_after: float, option: str, *, shared: bool = False) -> Listening:
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
    return Listening(sockets, port)


def bind_each(host: str, port: int, slow_after: float, option: str, number: int) -> list[Listening]:
    """`number` listeners between which the kernel distributes connections (SO_REUSEPORT). Only Linux does that;
    elsewhere the same listener is returned `number` times. Raises `CannotStart`."""
    if number == 1 or sys.platform != "linux":
        return [bind(host, port, slow_after, option)] * number
    if port:  # with a shared port alone, a second server would not be refused
        for probe in _patiently(host, port, slow_after, option).sockets:
            probe.close()
    first = bind(host, port, slow_after, option, shared=True)
    others = [bind(host, first.port, slow_after, option, shared=True) for _ in range(number - 1)]
    return [first, *others]


def _patiently(host: str, port: int, slow_after: float, option: str) -> Listening:
    """Waits a moment for a port that is in use: the workers of a killed server end shortly after it."""
    end = time.monotonic() + _DYING_SECONDS
    while True:
        try:
            return bind(host, port, slow_after, option)
        except CannotStart:
            if time.monotonic() > end:
                raise
        time.sleep(_DYING_SECONDS / 20)


def check_unreachable(host: str) -> None:
    """Raises `CannotStart` if other machines could connect; also for a socket file, which a proxy may pass on."""
    if host.startswith(UNIX) or not all(is_loopback(address) for _, address in addresses(host)):
        raise CannotStart(
            f"{host} can be reached by others, and nobody has said who may read and publish: give --config with "
            "rights, or --secret-file, or --open if everybody may"
        )


def addresses(host: str) -> Sequence[tuple[int, str]]:
    """The families and addresses that a host names. Raises `CannotStart`.

    The hosts file is not asked for localhost: on many machines it has only one of the two addresses."""
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
        # Each connection inherits these from the listener, without a call of its own.
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


def bind_unix(path: str) -> Listening:
    """Listens on a socket file; replaces one that a dead server has left. Raises `CannotStart`."""
    try:
        _make_room(path)
        listener = _bound_file(path)
        return Listening([listener], 0, path, os.lstat(path).st_ino)
    except OSError as error:
        raise CannotStart(_why_no_file(error, path)) from None


def _make_room(path: str) -> None:
    """Removes the socket file of a killed server. Raises `CannotStart` if anything else is there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise CannotStart(f"{path} is there and no socket: name another path in --host unix:PATH")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # a blocking connect would wait for a busy server
        found = probe.connect_ex(path)
    if found == errno.ECONNREFUSED:
        os.unlink(path)
    elif found not in (0, errno.EAGAIN):
        raise OSError(found, os.strerror(found))
    else:
        raise CannotStart(f"another program listens on {path}: stop it, or name another path in --host unix:PATH")


def _bound_file(path: str) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX)
    try:
        with _umask(_UNIX_UMASK):
            bound.bind(path)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _why_no_file(error: OSError, path: str) -> str:
    why = error.strerror or str(error)  # a path that is too long has no error of the kernel's
    return f"cannot listen on unix:{path} ({why}): name a path in a folder that this user may write to"
