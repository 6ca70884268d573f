"""From a connection to a usable log: creates the schema or brings it up to date, and adopts the log."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from asyncpg.exceptions import InsufficientPrivilegeError

from roomcast.log import clock as machine
from roomcast.log.postgresql.connection import Session
from roomcast.log.postgresql.errors import said
from roomcast.log.postgresql.queries import MIGRATIONS, QUERIES, VERSION, Row
from roomcast.model.errors import LogUnavailable, LogUnusable
from roomcast.model.message import new_epoch, rfc3339

_LEAST_SERVER = 140000
"""PostgreSQL 14. Older versions get no updates any more."""

_log = logging.getLogger("roomcast.log")


class Anchor(NamedTuple):
    """What a server knows of the log's history: its newest append, as of some moment."""

    seq: int = 0
    nonce: int = 0


async def prepare(session: Session, name: str, max_message: int) -> None:
    """Creates missing parts of the schema. Raises `LogUnusable`, `LogUnavailable` and what the driver raises."""
    found = await session.row("identify")
    _check(found, name)
    if not found["made"] or (await session.row("load_version"))["number"] < VERSION:
        await _migrate(session)
    version = await session.row("load_version")
    if version["least"] > VERSION:
        raise LogUnusable(
            f"The schema roomcast in {name} is of version {version['number']}, and this roomcast knows versions "
            f"up to {VERSION}: start a newer roomcast, or name another database."
        )
    await _admit_publisher(session)
    await session.rows("make_log", new_epoch())
    await session.rows("note_limit", max_message)
    if found["hasty"] or found["unsynced"]:
        option = "fsync = off" if found["unsynced"] else "synchronous_commit = off"
        _log.warning(
            "the database has %s: the last acknowledged messages can be gone after a crash, and each of its "
            "starts is a new epoch. Set it to on, unless that is what you want",
            option,
        )


async def _admit_publisher(session: Session) -> None:
    """Lets the role `roomcast_publisher`, if it exists, publish in SQL."""
    if any(row["barred"] for row in await session.rows("find_publisher")):
        try:
            await session.script(QUERIES["lock_schema"], QUERIES["admit_publisher"])
        except InsufficientPrivilegeError as error:
            _log.warning("roomcast_publisher may not publish (%s): the schema's owner can GRANT it.", said(error))


def _check(found: Row, name: str) -> None:
    if found["standby"]:
        raise LogUnavailable("The database is a standby; everything goes on when it is a primary.")
    if found["version"] < _LEAST_SERVER:
        raise LogUnusable(f"{name} is older than PostgreSQL 14: use a newer one.")
    if found["encoding"] != "UTF8":
        raise LogUnusable(
            f"{name} keeps texts as {found['encoding']}: make a database with ENCODING 'UTF8' TEMPLATE template0."
        )


async def _migrate(session: Session) -> None:
    """If several servers start at once, the first one migrates."""
    await session.script(QUERIES["lock_schema"], *_guarded(MIGRATIONS))


def _guarded(migrations: Sequence[str]) -> list[str]:
    """Each version's script, as a block that does nothing if the schema already has that version."""
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
    """The epoch under which the log goes on, from the one that this server knows ('' for none). Raises what the
    driver raises."""
    now = machine.clock() // 1_000_000
    fresh = new_epoch()
    async with session.transaction() as call:
        [row] = await call("begin_life", epoch, *anchor, fresh, anew, now)
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
