"""Runs `roomcast` with every turn of its loop measured: `python -m tests.hardening.watched FILE serve …`.

It uses asyncio's own loop, where each callback goes through `Handle._run`; uvloop has no such place. A turn is the
CPU time that the loop's thread takes for one callback, so a busy machine does not change it. Garbage collection is
not counted, nor is accepting many connections, which asyncio does in one callback and uvloop does not. At SIGUSR1,
and at the end, the longest turns since the last such signal are written to FILE.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from roomcast.cli.main import main

_KEPT = 5


class Watch:
    """Keeps the five longest turns."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._longest: list[tuple[float, str]] = []
        self._collecting = 0.0
        self._collected = 0.0
        """Seconds of this turn that garbage collection took."""

    def install(self) -> None:
        run = asyncio.Handle._run

        def watched(handle: asyncio.Handle) -> None:
            self._collected = 0.0
            told: Any = getattr(handle, "_callback", None)
            began = time.thread_time()
            run(handle)
            took = time.thread_time() - began - self._collected
            if (len(self._longest) < _KEPT or took > self._longest[-1][0]) and not _accepts(told):
                self._note(took, told)

        asyncio.Handle._run = watched  # type: ignore[assignment, method-assign]
        gc.callbacks.append(self._garbage)
        signal.signal(signal.SIGUSR1, self._write)
        atexit.register(self._write)

    def _garbage(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.thread_time()
        else:
            self._collected += time.thread_time() - self._collecting

    def _note(self, took: float, callback: Any) -> None:
        self._longest = sorted([*self._longest, (took, _told(callback))], reverse=True)[:_KEPT]

    def _write(self, *_: Any) -> None:
        longest, self._longest = self._longest, []
        beside = self._file.with_suffix(".new")
        beside.write_text(json.dumps(longest))
        os.replace(beside, self._file)


def _told(callback: Any) -> str:
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return repr(owner.get_coro())[:150]
    return repr(callback)[:150]


def _accepts(callback: Any) -> bool:
    return getattr(callback, "__name__", "") == "_accept_connection"


if __name__ == "__main__":
    Watch(Path(sys.argv.pop(1))).install()
    uvloop.new_event_loop = asyncio.new_event_loop  # type: ignore[assignment]
    main()
