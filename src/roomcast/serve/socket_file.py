"""The socket file of `--host unix:PATH`."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator

from roomcast.model.errors import CannotStart
from roomcast.serve.listen import BACKLOG, UNIX, Endpoint

_UMASK = 0o117
"""Mode 0660: every user who may write to the file may use the API."""


def bind_unix(path: str) -> Endpoint:
    """Listens on the socket file `path`; replaces one that a dead server has left. Raises `CannotStart`."""
    try:
        _remove_stale(path)
        listener = _bound_file(path)
        return Endpoint([listener], f"{UNIX}{path}", 0, path, os.lstat(path).st_ino)
    except OSError as error:
        raise CannotStart(_why_no_file(error, path)) from None


def _remove_stale(path: str) -> None:
    """Removes the socket file of a killed server. Raises `CannotStart` if anything else is there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise CannotStart(f"{path} exists and is not a socket: name another path in --host unix:PATH")
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
        with _umask(_UMASK):
            bound.bind(path)
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound


@contextlib.contextmanager
def _umask(mask: int) -> Iterator[None]:
    former = os.umask(mask)
    try:
        yield
    finally:
        os.umask(former)


def _why_no_file(error: OSError, path: str) -> str:
    why = error.strerror or str(error)  # Python itself refuses a path that is too long
    return f"cannot listen on unix:{path} ({why}): name a path in a folder that this user may write to"
