"""Makes a connected database usable: creates or migrates the schema, and decides under which epoch the log goes
on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from asyncpg.exceptions import InsufficientPrivilegeError

from roomcast.log.clock import now_ms
from roomcast.log.outage import HistoryChanged
from roomcast.log.postgresql.connection import Session
from roomcast.log.postgresql.errors import error_text
from roomcast.log.postgresql.queries import MIGRATIONS, QUERIES, VERSION, Row
from roomcast.model.errors import LogUnavailable, LogUnusable
from roomcast.model.message import new_epoch, rfc3339

_LEAST_SERVER = 140000
"""PostgreSQL 14. Older versions get no updates any more."""

_log = logging.getLogger("roomcast.log")


class Anchor(NamedTuple):
    """The append up to which a server knows the log's history."""

    seq: int = 0
    """Its last message."""
    nonce: int = 0
    """Its random number."""


async def prepare(session: Session, name: str, max_message: int) -> None:
    """Creates the schema or brings it up to date, over the connection of `session`. `name`: the log's name without
    credentials, for errors. `max_message`: the most bytes of a message published in SQL. Raises `LogUnusable`,
    `LogUnavailable` and what the driver raises."""
    found = await session.row("identify")
    _check_server(found, name)
    if not found["made"] or (await session.row("load_version"))["version"] < VERSION:
        await _migrate(session)
    check_version(await session.row("load_version"), name)
    await _admit_publisher(session)
    await session.rows("make_log", new_epoch())
    await session.rows("note_limit", max_message)
    if found["fsync_off"] or found["commit_off"]:
        option = "fsync = off" if found["fsync_off"] else "synchronous_commit = off"
        _log.warning(
            "the database has %s: a crash can lose the last acknowledged messages, so each start of the database "
            "begins a new epoch. Set it to on, unless you want that",
            option,
        )


def check_version(row: Row, name: str) -> None:
    """Raises `LogUnusable` if the schema is for newer versions of roomcast only. `row`: a row with its `version`
    and `least`. `name`: the log's name without credentials."""
    if row["least"] > VERSION:
        raise LogUnusable(
            f"The schema roomcast in {name} is of version {row['version']}, which this roomcast cannot use "
            f"(it knows version {VERSION}): start a newer roomcast, or name another database."
        )


def check_history(row: Row, anchor: Anchor) -> None:
    """Raises `HistoryChanged` if the log in `row`, a result of `load_news`, ends before `anchor` or has another
    append there, or if the database has begun another life."""
    differs = row["newest"] == anchor.seq and row["nonce"] not in (None, anchor.nonce)
    if row["newest"] < anchor.seq or differs or row["life"] != row["here"]:
        raise HistoryChanged


async def _admit_publisher(session: Session) -> None:
    """Allows the role `roomcast_publisher`, if it exists, to publish in SQL."""
    if any(row["barred"] for row in await session.rows("find_publisher")):
        try:
            await session.script(QUERIES["lock_schema"], QUERIES["admit_publisher"])
        except InsufficientPrivilegeError as error:
            _log.warning(
                "roomcast_publisher may not publish: %s; the schema's owner can GRANT it.", error_text(error)
            )


def _check_server(found: Row, name: str) -> None:
    if found["standby"]:
        raise LogUnavailable("The database is a standby; roomcast waits until it is a primary.")
    if found["version"] < _LEAST_SERVER:
        raise LogUnusable(f"{name} is older than PostgreSQL 14: use a newer one.")
    if found["encoding"] != "UTF8":
        raise LogUnusable(
            f"{name} has the encoding {found['encoding']}: create a database with "
            "ENCODING 'UTF8' TEMPLATE template0."
        )


async def _migrate(session: Session) -> None:
    """Creates the schema, or brings it up to date. If several servers start at once, the first one does it."""
    await session.script(QUERIES["lock_schema"], *_if_older(MIGRATIONS))


def _if_older(migrations: Sequence[str]) -> list[str]:
    """Each version's script as a block that does nothing if the schema already has that version."""
    blocks = []
    for number, script in enumerate(migrations, 1):
        known = f"(SELECT number FROM roomcast.version) >= {number}"
        if number == 1:
            known = "to_regclass('roomcast.version') IS NOT NULL"
        blocks.append(
            f"DO $migration$ BEGIN IF NOT ({known}) THEN EXECUTE $script${script}$script$; END IF; END $migration$"
        )
    return blocks


async def begin_life(session: Session, epoch: str, anchor: Anchor, *, anew: bool) -> str:
    """Decides, over the connection of `session`, under which epoch the log goes on in the database's present life.
    Returns that epoch.

    `epoch` and `anchor`: the history that this server knows; an empty `epoch` if it knows none. `anew`: begin a
    new epoch in any case. Raises what the driver raises.
    """
    now = now_ms()
    row = await session.row("begin_life", epoch, *anchor, new_epoch(), anew, now)
    if row["begun"]:
        _log.warning(
            "the log goes on under the new epoch %s: clients are told a gap, nothing is left to do", row["epoch"]
        )
    if row["timed"]:
        _log.warning(
            "%d messages were from the future: they are from %s now, nothing is left to do.",
            row["timed"],
            rfc3339(now),
        )
    return str(row["epoch"])
