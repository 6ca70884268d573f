"""Moves what applications published inside their own transactions from the outbox to the log.

One transaction removes a message from the outbox and stores it, so it is moved exactly once. A message that cannot
be stored is kept in `outbox_refused` with the reason, so that nothing is dropped silently.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from roomcast.log.append_queue import AppendRequest, PendingAppend
from roomcast.log.postgresql.caps import PostgresCaps
from roomcast.log.postgresql.connection import Session
from roomcast.log.postgresql.groups import AppendGroup
from roomcast.log.postgresql.queries import Row
from roomcast.log.postgresql.writer import PostgresWriter
from roomcast.log.sequencer import check_rooms, check_size
from roomcast.model.draft import parse_json
from roomcast.model.errors import RoomcastError
from roomcast.model.message import Draft

_MAX_MOVED = 200
"""The most messages moved in one transaction, which holds the log's lock."""

_log = logging.getLogger("roomcast.log")


class Outbox:
    """Moves messages from the outbox to the log, as jobs of this server's writer."""

    def __init__(self, session: Session, writer: PostgresWriter, caps: PostgresCaps, max_message: int) -> None:
        """`session`: the writer's connection. `max_message`: the most bytes of a message."""
        self.moved = 0
        """How many messages this process has moved to the log."""
        self.refused = 0
        """How many messages it could not move."""
        self._session = session
        self._writer = writer
        self._caps = caps
        self._max_message = max_message
        self._scheduled = False

    def move_soon(self) -> None:
        """Schedules jobs that move all messages in the outbox. Called with each poll that finds some, and with
        each notification of `roomcast.publish`."""
        if not self._scheduled:
            self._scheduled = True
            self._writer.submit(self._move).add_done_callback(self._done)

    def _done(self, moving: asyncio.Future[Any]) -> None:
        self._scheduled = False
        # After a failure the messages are still in the outbox, and the next poll finds them.
        if not moving.cancelled() and not moving.exception() and moving.result():
            self.move_soon()

    async def _move(self) -> bool:
        """Moves the first `_MAX_MOVED` messages. Returns whether there may be more."""
        nonce = secrets.randbits(63)
        async with self._session.transaction() as call:
            [lock] = await call("lock_outbox")
            rows = sorted(await call("take_outbox", _MAX_MOVED), key=_by_id) if lock["ours"] else []
            if not rows:
                return False
            group, refused = self._group(rows)
            if refused:
                await call("refuse_outbox", *map(list, zip(*refused, strict=True)))
            [row] = await call("append", *self._writer.append_arguments(nonce, group.parameters()))
        await self._writer.sync(row)
        self._writer.note_commit(group, nonce, row)
        self.moved += len(rows) - len(refused)
        self.refused += len(refused)
        for _, room, _, at, why in refused:
            _log.error(
                "a message for %s, published in SQL at %s, is in roomcast.outbox_refused: %s. Correct it, "
                "publish it again, and delete that row",
                *(room, at, why),
            )
        return len(rows) == _MAX_MOVED

    def _group(self, rows: Sequence[Row]) -> tuple[AppendGroup, list[tuple[object, ...]]]:
        """Returns the messages that can be stored as one group, and the others with the reasons as rows of
        `outbox_refused`."""
        retention, rules = self._caps.retention, self._caps.rules
        drafts: list[Draft] = []
        refused: list[tuple[object, ...]] = []
        for row in rows:
            try:
                draft = self._draft(row)
                check_size([draft], retention)
                check_rooms([draft], rules)
                drafts.append(draft)
            except RoomcastError as error:
                refused.append((*row.values(), error.detail))
        return AppendGroup(
            [PendingAppend.for_request(AppendRequest([draft], None)) for draft in drafts], retention, rules
        ), refused

    def _draft(self, row: Row) -> Draft:
        """The draft that a `POST` of the row's message would make. The text is not decoded and encoded again, so
        numbers keep their digits."""
        rest = row["message"].strip()[1:]
        body = b'{"room":%b,%b' % (msgspec.json.encode(row["room"]), rest.encode())
        [draft] = parse_json(body, self._max_message).drafts
        return draft


def _by_id(row: Row) -> int:
    return int(row["id"])
