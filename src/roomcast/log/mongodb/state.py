"""The small collection beside the messages: the epoch, and what is known of rooms whose messages are gone.

Laws:
- It is never the truth about a message: each message's own `prev` is. It is written behind, at most once a second,
  and may miss what came last; `counted` says up to where it is complete.
- Every process writes all that it has seen, with `$max`, so it does not matter who writes, how often, or twice.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from bson import Int64
from pymongo import ReturnDocument, UpdateOne

from roomcast.log.mongodb.opening import Store, int64
from roomcast.log.mongodb.rooms import Rooms
from roomcast.log.trimming import Trimmed, watermark
from roomcast.model.message import new_epoch

_LOG = "log"
_PART = 1_000


class State(NamedTuple):
    """What all processes on this log agree upon."""

    epoch: str
    counted: int
    """Every room with a message up to here is written down, or forgotten."""
    forgotten: Trimmed
    timed_after: int = 0
    """Times begin anew after this message: the clock was wrong before, maybe."""


async def load(store: Store) -> State:
    """As it is; made where there is none."""
    fresh = {"epoch": new_epoch(), **int64({"counted": 0, "forgotten": 0, "forgotten_at": 0})}
    found = await store.beside.find_one_and_update(
        {"_id": _LOG}, {"$setOnInsert": fresh}, upsert=True, return_document=ReturnDocument.AFTER
    )
    return _state(found)


async def look(store: Store) -> State:
    """As it is now. Cheaper than `load`: it writes nothing."""
    found = await store.beside.find_one({"_id": _LOG})
    return await load(store) if found is None else _state(found)


async def begin_epoch(store: Store, before: str, counted: int, timed_after: int) -> State:
    """A new epoch after `before`, unless another process was faster; the rooms are forgotten with the old one.
    Times begin anew after the message `timed_after`; with 0 they go on."""
    # A gap is told to everybody who comes with an id of the old epoch, so nothing is to be known of that.
    fresh = {
        "epoch": new_epoch(),
        **int64({"counted": counted, "forgotten": 0, "forgotten_at": 0, "timed_after": timed_after}),
    }
    await store.beside.update_one({"_id": _LOG, "epoch": before}, {"$set": fresh})
    await store.beside.delete_many({"room": {"$exists": True}, "newest": {"$gt": counted}})
    return await look(store)


async def load_rooms(store: Store) -> list[tuple[str, Trimmed]]:
    cursor = store.beside.find({"room": {"$exists": True}})
    return [
        (room["room"], Trimmed(int(room["newest"]), int(room["newest_at"]), int(room["count"])))
        async for room in cursor
    ]


async def save(store: Store, rooms: Rooms, newest: int) -> None:
    """Writes down what changed since, and that all up to `newest` is written."""
    changed, forgotten = rooms.changed(), rooms.forgotten
    updates = [_update(room, state) for room, state in changed.items()]
    for start in range(0, len(updates), _PART):
        await store.beside.bulk_write(updates[start : start + _PART], ordered=False)
    state = int64({"counted": newest, "forgotten": forgotten.seq, "forgotten_at": forgotten.at})
    await store.beside.update_one({"_id": _LOG}, {"$max": state})
    if forgotten.seq:
        await store.beside.delete_many({"newest": {"$lte": Int64(forgotten.seq)}})
    rooms.written(changed)


def _update(room: str, newest: Trimmed) -> UpdateOne:
    state = int64({"newest": newest.seq, "newest_at": newest.at, "count": newest.lost})
    return UpdateOne({"_id": f"room {room}"}, {"$max": state, "$setOnInsert": {"room": room}}, upsert=True)


def _state(found: Any) -> State:
    forgotten = watermark(int(found["forgotten"]), int(found["forgotten_at"]))
    return State(found["epoch"], int(found["counted"]), forgotten, int(found.get("timed_after", 0)))
