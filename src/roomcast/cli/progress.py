"""The progress of a long task: a line on stderr, only in a terminal, and only if the task takes long."""

from __future__ import annotations

import os
import stat
import sys
import time

from roomcast.terminal import Screen

_FIRST, _NEXT = 1.0, 0.1
"""Seconds until the first line, and between two lines."""


class Progress:
    """A line that is replaced while the task goes on."""

    def __init__(self, what: str, descriptor: int | None = None) -> None:
        self._what = what
        self._descriptor = descriptor
        """The input's descriptor, to show how much was read. Only a regular file is measured."""
        self._size = _size(descriptor)
        self._began = time.monotonic()
        self._next = self._began + _FIRST
        self._screen = Screen(sys.stderr)

    def show(self, count: int, of: int = 0) -> None:
        """Shows that `count` of `of` are done; `of` is 0 if the total is not known."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _NEXT
        rate = count / (now - self._began)
        share = f"{count / of:4.0%}  " if of else self._share()
        self._screen.show([f"{share}{count:,} {self._what}, {rate:,.0f} a second"])

    def done(self) -> None:
        """Removes the line before the command's last output."""
        self._screen.clear()

    def _share(self) -> str:
        if self._descriptor is None or not self._size:
            return ""
        return f"{min(1.0, os.lseek(self._descriptor, 0, os.SEEK_CUR) / self._size):4.0%}  "


def _size(descriptor: int | None) -> int:
    if descriptor is None:
        return 0
    status = os.fstat(descriptor)
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
