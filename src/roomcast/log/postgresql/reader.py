"""Reads history. Each read of messages is one statement, and so sees one snapshot of the log."""

from __future__ import annotations

from collections.abc import Sequence

from roomcast.log.base import PAGE_BYTES, Bounds, Loss, Page, RoomSort, RoomStats
from roomcast.log.postgresql.connection import Session
from roomcast.log.postgresql.queries import NO_END, Row, end_of, messages_of, spans, trimmings_of
from roomcast.log.postgresql.tail import FETCH_BYTES, FETCH_MESSAGES, PostgresTail
from roomcast.log.register import Register
from roomcast.log.trimming import in_order, losses_between, position_before, watermark
from roomcast.model.message import Message
from roomcast.model.rooms import Selection

_REGISTER_ROWS = 1_000
"""How many appends are read at once into the register."""
_MANY_ROOMS = 256
"""Up to this many rooms of a selection with prefixes are read one by one, each by the index on rooms. For more
rooms, the log is walked."""


class PostgresReader:
    """Reads as `Log` describes, method by method. Every method raises `LogUnavailable` if the log's epoch is not
    the one this server knows, and what the driver raises."""

    def __init__(self, session: Session, tail: PostgresTail, remembered: int) -> None:
        """`remembered`: the least number of messages in the register, which counts what each room has lost."""
        self._session = session
        self._tail = tail
        self._remembered = remembered
        self._register: Register | None = None
        self._registered = ""
        """The epoch of the register."""

    async def page(self, selection: Selection, after: int, limit: int, before: int | None) -> Page:
        """As `Log.read`, for `selection`, `after`, `limit` and `before`."""
        row, known = await self._page_row(selection, after, max(limit, 1), before)
        messages, newest = messages_of(row), min(row["newest"], known)
        end = newest if before is None else min(newest, max(after, before - 1))
        losses = await self._losses(row, selection, after, before)
        oldest = (row["newest"] + 1 if row["oldest"] is None else row["oldest"]) if losses else 0
        return Page(messages, messages[-1].seq if row["cut"] else end, losses, oldest, row["deletions"])

    async def fetch(self, after: int) -> Sequence[Message]:
        """The first messages of the whole log after the seq `after`: at most `FETCH_MESSAGES`, and fewer if their
        bodies reach `FETCH_BYTES`."""
        return messages_of(
            await self._row("load_news", after, FETCH_MESSAGES, FETCH_BYTES, self._tail.presence.server)
        )

    async def get(self, seq: int) -> Message | None:
        """As `Log.get`, for the message `seq`."""
        found = messages_of(await self._row("get", seq))
        return found[0] if found else None

    async def seek_newest(self, selection: Selection, count: int, before: int | None) -> int:
        """As `Log.seek_newest`, for `selection`, `count` and `before`."""
        upto = NO_END if before is None else before - 1
        rooms: Sequence[str] | None = sorted(selection.rooms)
        if selection.prefixes:
            _, rooms = await self._matching(selection, 0)
        if rooms is None:
            row = await self._row(
                "seek_newest_of_many", sorted(selection.rooms), *spans(selection.prefixes), upto, count
            )
        else:
            row = await self._row("seek_newest", rooms, upto, count)
        end = row["newest"] if before is None else max(0, min(row["newest"], before - 1))
        return int(end if row["oldest"] is None else row["oldest"] - 1)

    async def seek_time(self, selection: Selection, since: int) -> int:
        """As `Log.seek_time`, for `selection` and `since`, in ms since 1970."""
        row = await self._row("seek_time", sorted(selection.rooms), *spans(selection.prefixes), since)
        unknown = watermark(row["forgotten"], row["forgotten_at"])
        return max(int(row["position"]), position_before(selection, trimmings_of(row), unknown, since))

    async def bounds(self) -> Bounds:
        """As `Log.bounds`, up to the newest durable message."""
        row = await self._row("load_log")
        return Bounds(row["trimmed"], row["newest"], row["bytes"], row["messages"], row["oldest_at"])

    async def rooms(
        self, prefix: str, sort: RoomSort, after: str | int | None, limit: int, *, ruled: bool
    ) -> Sequence[RoomStats]:
        """As `Log.rooms`, for `prefix`, `sort`, `after` and `limit`. `ruled`: whether to find out when each room's
        oldest message was stored, which costs a look into the index for each room."""
        name = f"rooms_by_{sort}{'_with_oldest' if ruled else ''}"
        if sort == "name":
            rows = await self._session.rows(
                name, prefix, end_of(prefix), after is None, "" if after is None else after, limit
            )
        else:
            rows = await self._session.rows(
                name, prefix, end_of(prefix), NO_END if after is None else after, limit
            )
        return [RoomStats(*row.values()) for row in rows]

    async def _page_row(self, selection: Selection, after: int, limit: int, before: int | None) -> tuple[Row, int]:
        """The row of a page, and the seq up to which all rooms of the selection are in it."""
        names, upto, known = sorted(selection.rooms), NO_END if before is None else before - 1, NO_END
        rooms: Sequence[str] | None = names
        if selection.prefixes:
            # A room that is created meanwhile may be missing, so read no further than the newest message now.
            known, rooms = await self._matching(selection, after)
        values = (names, *spans(selection.prefixes), after, min(upto, known), limit, PAGE_BYTES)
        if rooms is None:
            return await self._row("page_of_many", *values), known
        return await self._row("page", *values, rooms), known

    async def _losses(self, row: Row, selection: Selection, after: int, before: int | None) -> list[Loss]:
        """The losses of the rooms of a page, from the page's row."""
        unknown = watermark(row["forgotten"], row["forgotten_at"])
        trimmings = trimmings_of(row)
        lost = max((trimmed.seq for trimmed in trimmings.values()), default=0)
        between = (await self._load_register(lost)).between if lost > after else _nothing_between
        losses = losses_between(selection, trimmings, unknown, after, before, between)
        if row["deleted_seqs"]:
            gone = zip(row["deleted_rooms"], row["deleted_seqs"], row["deletion_numbers"], strict=True)
            losses = sorted([*losses, *(Loss(room, seq, 1, 0, n) for room, seq, n in gone)], key=in_order)
        return losses

    async def _load_register(self, upto: int) -> Register:
        """The register of each room's messages, read up to the seq `upto`."""
        if self._register is None or self._registered != self._tail.epoch:
            row = await self._row("begin_register")
            self._register, self._registered = Register(row["since"], self._remembered), row["epoch"]
        register = self._register
        while register.reach < upto:
            appends = await self._session.rows("load_register", register.reach, _REGISTER_ROWS)
            for append in appends:
                _note(register, append)
            if not appends:
                break
        return register

    async def _matching(self, selection: Selection, after: int) -> tuple[int, Sequence[str] | None]:
        """Returns the newest seq, and the rooms of a selection that have messages after a position; None instead
        of the rooms if there are too many to read one by one."""
        row = await self._row(
            "find_rooms", sorted(selection.rooms), *spans(selection.prefixes), after, _MANY_ROOMS + 1
        )
        rooms: Sequence[str] = row["rooms"]
        return row["newest"], rooms if len(rooms) <= _MANY_ROOMS else None

    async def _row(self, name: str, *values: object) -> Row:
        row = await self._session.row(name, *values)
        self._tail.check_epoch(row)
        return row


def _note(register: Register, append: Row) -> None:
    """Adds the messages of an append to the register."""
    if append["last"] <= register.reach:  # another page has added it
        return
    if append["first"] > register.reach + 1:  # the register was unused until the appends in between were removed
        register.begin(append["first"] - 1)
    seqs: dict[str, list[int]] = {}
    for seq, room in enumerate(append["rooms"], append["first"]):
        seqs.setdefault(room, []).append(seq)
    for room, own in seqs.items():
        register.note(room, own)
    register.reached(append["last"])


def _nothing_between(room: str, after: int, last: int) -> int:
    """The `Between` of selections that have lost nothing."""
    return 0
