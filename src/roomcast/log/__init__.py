"""The capped message log, one file a backend. A backend's driver is imported when a log of its kind is opened."""

from __future__ import annotations

import asyncio
from importlib import import_module

from roomcast.errors import LogUnusable
from roomcast.log.base import Log, Retention

_BACKENDS = {"sqlite": "roomcast.log.sqlite", "memory": "roomcast.log.memory"}
_FORMS = "sqlite:PATH, memory: or mongodb://HOST[:PORT]/serversentevents"


async def open_log(url: str, *, retention: Retention, new_epoch: bool = False, synchronous: str = "full") -> Log:
    """The log that `url` names: `sqlite:PATH` or `memory:`.

    `synchronous` (full, normal or off) is how SQLite waits for the disk; with less than full a power cut may
    take acknowledged messages. Raises `LogUnusable` with one sentence that says what to do.
    """
    kind, colon, rest = url.partition(":")
    if colon and kind == "mongodb":
        raise LogUnusable("The mongodb log is not in this version yet: use sqlite:PATH or memory:.")
    if not colon or kind not in _BACKENDS:
        raise LogUnusable(f"{url!r} names no log: use {_FORMS}.")
    # Importing reads files, which must not hold up a loop that already serves.
    backend = await asyncio.to_thread(import_module, _BACKENDS[kind])
    log: Log = await backend.open_log(url, rest, retention=retention, new_epoch=new_epoch, synchronous=synchronous)
    return log
