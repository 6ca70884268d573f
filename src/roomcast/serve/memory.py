"""Returns unused memory of the process to the kernel."""

from __future__ import annotations

import asyncio
import ctypes
from collections.abc import Callable
from typing import Any

_M_MMAP_THRESHOLD = -3
"""The parameter's number in glibc's mallopt(3)."""
_LARGE_BYTES = 256 * 1024
"""Blocks of at least this many bytes return to the kernel as soon as they are freed. Not larger, since the loop
gives each TLS connection a buffer of this size, of which it touches little."""
_PAUSE_SECONDS = 10.0
"""Seconds between two returns of smaller blocks. One return takes 5 ms for 75 MB, in a thread."""


def fix_mmap_threshold() -> None:
    """Keeps glibc's threshold at `_LARGE_BYTES`. By itself glibc raises it with each large block that is freed, up
    to 32 MiB: of 64 MiB of aborted request bodies, 58 MiB stayed. Does nothing with another C library."""
    if mallopt := _of_glibc("mallopt"):
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


async def trim_heap_regularly() -> None:
    """Returns whole memory pages of smaller blocks, for as long as the server runs. By itself glibc does so only
    at the end of its heap: 64 MiB of unread answers stayed. Does nothing with another C library."""
    while trim := _of_glibc("malloc_trim"):
        await asyncio.sleep(_PAUSE_SECONDS)
        await asyncio.to_thread(trim, 0)


def _of_glibc(name: str) -> Callable[..., Any] | None:
    try:
        function: Callable[..., Any] = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError):
        return None
    return function
