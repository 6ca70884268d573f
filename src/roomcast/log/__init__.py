"""The capped message log: a folder for each backend. A backend and its driver are imported when a log of its kind
is opened."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from roomcast.log.base import Log
from roomcast.model.errors import LogUnusable
from roomcast.model.redact import redacted_url
from roomcast.model.retention import Retention

_BACKENDS = {
    "sqlite": "roomcast.log.sqlite.log",
    "memory": "roomcast.log.memory",
    "mongodb": "roomcast.log.mongodb.log",
    "mongodb+srv": "roomcast.log.mongodb.log",
    "postgresql": "roomcast.log.postgresql.log",
    "postgres": "roomcast.log.postgresql.log",  # libpq takes both
}
_DRIVERS = {
    "pymongo": "A log in MongoDB needs its driver: pip install 'roomcast[mongodb]'.",
    "bson": "A log in MongoDB needs its driver: pip install 'roomcast[mongodb]'.",
    "asyncpg": "A log in PostgreSQL needs its driver: pip install 'roomcast[postgresql]'.",
}
_FORMS = "sqlite:{}, memory:, postgresql://HOST[:PORT]/DATABASE or mongodb://HOST[:PORT]/serversentevents"
_SHARED = ("mongodb", "mongodb+srv", "postgresql", "postgres")
"""The kinds of logs that several processes may open at the same time."""


def is_shared(url: str) -> bool:
    """Whether several processes may open the log at `url` at the same time."""
    return url.partition(":")[0] in _SHARED


def file_of(url: str) -> str:
    """The path of the file of the log at `url`; empty if that log is not in a file."""
    kind, _, path = url.partition(":")
    return path if kind == "sqlite" else ""


def load_backend(url: str) -> Any:
    """Imports the module for the kind of log that `url` names, and returns it; None if there is no such kind.
    Raises `LogUnusable` if its driver is not installed."""
    kind = url.partition(":")[0]
    if kind not in _BACKENDS:
        return None
    try:
        return import_module(_BACKENDS[kind])
    except ModuleNotFoundError as error:
        driver = (error.name or "").partition(".")[0]
        if driver not in _DRIVERS:
            raise
        raise LogUnusable(_DRIVERS[driver]) from None


async def open_log(
    url: str,
    *,
    retention: Retention,
    new_epoch: bool = False,
    synchronous: str = "full",
    max_message: int = 64_000,
) -> Log:
    """Opens the log that `url` names: `sqlite:PATH`, `memory:`, `postgresql://…` or `mongodb://…`.

    `retention`: the caps; a shared log may keep its own. `new_epoch`: begin a new epoch. `synchronous` (full,
    normal or off): how SQLite waits for the disk; below full, a power cut may lose acknowledged messages.
    `max_message`: the most bytes of a message, for logs that other programs can publish to without this server.
    Raises `LogUnusable` with one sentence that says what to do."""
    kind, colon, rest = url.partition(":")
    if not colon or kind not in _BACKENDS:
        path = url if not colon and ("/" in url or "." in url) else "PATH"
        raise LogUnusable(f"{redacted_url(url)!r} names no log: use {_FORMS.format(path)}.")
    if kind == "memory" and rest:  # a user who names a file expects it to be kept
        raise LogUnusable(f"{url!r} names no log: memory: has no file; to keep what is published use sqlite:PATH.")
    # In a thread: an import reads files, which must not block a loop that already serves.
    backend = await asyncio.to_thread(load_backend, url)
    log: Log = await backend.open_log(
        url,
        rest,
        retention=retention,
        new_epoch=new_epoch,
        synchronous=synchronous,
        max_message=max_message,
    )
    return log
