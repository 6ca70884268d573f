"""How far something long has come: one line on stderr, in a terminal only, and only if it takes long."""

from __future__ import annotations

import os
import stat
import sys
import time

_FIRST, _NEXT = 1.0, 0.1
"""Seconds until it is worth a word, and between two."""


class Progress:
    """A line that is written over and over."""

    def __init__(self, what: str, descriptor: int | None = None) -> None:
        self._what = what
        self._descriptor = descriptor
        """Of the input, to say how much of it is left; None, or no file: it is not known."""
        self._size = _size(descriptor)
        self._began = time.monotonic()
        self._next = self._began + _FIRST if sys.stderr.isatty() else float("inf")
        self._shown = False

    def show(self, count: int, of: int = 0) -> None:
        """So many are done; `of` how many, where that is known."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _NEXT
        self._shown = True
        rate = count / (now - self._began)
        share = f"{count / of:4.0%}  " if of else self._share()
        print(
            f"\r\x1b[K{share}{count:,} {self._what}, {rate:,.0f} a second",
            end="",
            file=sys.stderr,
            flush=True,
        )

    def done(self) -> None:
        """Makes place for what is said at the end."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _share(self) -> str:
        if self._descriptor is None or not self._size:
            return ""
        return f"{min(1.0, os.lseek(self._descriptor, 0, os.SEEK_CUR) / self._size):4.0%}  "


def _size(descriptor: int | None) -> int:
    if descriptor is None:
        return 0
    status = os.fstat(descriptor)
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
