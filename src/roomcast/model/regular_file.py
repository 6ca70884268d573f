"""Reads the files that a configuration names: secrets, keys, certificates, and the configuration itself."""

from __future__ import annotations

import os
import stat

from roomcast.model.errors import CannotStart


def read_regular(path: str, what: str, max_bytes: int) -> bytes:
    """The content of a regular file. Blocks.

    Only a regular file is opened: opening a pipe may wait for ever, and it would be empty when it is read again.
    More than `max_bytes` are refused, since a mistyped path must not fill the memory. Raises `CannotStart` with a
    sentence that begins with `what`."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise CannotStart(f"{what} is not a regular file: name one")
        with open(path, "rb") as file:
            data = file.read(max_bytes + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        why = getattr(error, "strerror", None) or error
        raise CannotStart(f"{what} cannot be read ({why}): name a file that this user may read") from None
    if len(data) > max_bytes:
        raise CannotStart(f"{what} has more than {max_bytes // 1024} KiB: name another file")
    return data
