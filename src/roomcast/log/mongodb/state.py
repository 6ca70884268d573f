"""The small collection beside the messages: the epoch, and the newest message of each room, retained or not.

Laws:
- It never decides about a message: the message's own `prev` does. It is written after the messages, at most once a
  second, and may miss the newest ones; `counted` is the seq up to which it is complete.
- Every process writes all that it has seen, with `$max`. So it does not matter which process writes, or how often.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from bson import Int64
from pymongo import ReturnDocument, UpdateOne

from roomcast.log.mongodb.opening import Store, int64
from roomcast.log.mongodb.rooms import KnownRooms
from roomcast.log.trimming import Trimming, watermark
from roomcast.model.message import new_epoch

_LOG = "log"
_PART = 1_000


class SharedState(NamedTuple):
    """The state that all processes on this log share."""

    epoch: str
    counted: int
    """Every room with a message up to this seq is saved, or forgotten."""
    forgotten: Trimming
    timed_after: int = 0
    """Message times start over after this message: the clock may have been wrong before."""


async def load(store: Store) -> SharedState:
    """Loads the state from the metadata of `store`; creates it in a new log. Raises `PyMongoError`."""
    fresh = {"epoch": new_epoch(), **int64({"counted": 0, "forgotten": 0, "forgotten_at": 0})}
    found = await store.metadata.find_one_and_update(
        {"_id": _LOG}, {"$setOnInsert": fresh}, upsert=True, return_document=ReturnDocument.AFTER
    )
    return _state(found)


async def read(store: Store) -> SharedState:
    """Like `load`, but cheaper: it writes to `store` only if there is no state."""
    found = await store.metadata.find_one({"_id": _LOG})
    return await load(store) if found is None else _state(found)


async def begin_epoch(store: Store, before: str, counted: int, timed_after: int) -> SharedState:
    """Begins a new epoch in `store` after the epoch `before`, unless another process has done so. Forgets the
    rooms with messages after the seq `counted`, which is the end of what is trimmed. Message times start over
    after the message `timed_after`; 0: they continue. Returns the state that is in force. Raises
    `PyMongoError`."""
    # Each client with an id of the old epoch is told of a gap, so nothing about the old rooms is needed.
    fresh = {
        "epoch": new_epoch(),
        **int64({"counted": counted, "forgotten": 0, "forgotten_at": 0, "timed_after": timed_after}),
    }
    await store.metadata.update_one({"_id": _LOG, "epoch": before}, {"$set": fresh})
    await store.metadata.delete_many({"room": {"$exists": True}, "newest": {"$gt": counted}})
    return await read(store)


async def load_rooms(store: Store) -> list[tuple[str, Trimming]]:
    """All rooms saved in `store`, as `KnownRooms` keeps them. Raises `PyMongoError`."""
    cursor = store.metadata.find({"room": {"$exists": True}})
    return [
        (room["room"], Trimming(int(room["newest"]), int(room["newest_at"]), int(room["count"])))
        async for room in cursor
    ]


async def save(store: Store, epoch: str, rooms: KnownRooms, newest: int) -> None:
    """Saves the changes of `rooms` in `store`. Records under the epoch `epoch` that all rooms are saved up to the
    seq `newest`. Raises `PyMongoError`."""
    changed, forgotten = rooms.changed(), rooms.forgotten
    updates = [_update(room, state) for room, state in changed.items()]
    for start in range(0, len(updates), _PART):
        await store.metadata.bulk_write(updates[start : start + _PART], ordered=False)
    state = int64({"counted": newest, "forgotten": forgotten.seq, "forgotten_at": forgotten.at})
    # Another process may have begun a new epoch, which counts from an earlier message. A count of the old history
    # would say there that rooms are saved which are not, or even begin another epoch.
    await store.metadata.update_one({"_id": _LOG, "epoch": epoch}, {"$max": state})
    if forgotten.seq:
        await store.metadata.delete_many({"newest": {"$lte": Int64(forgotten.seq)}})
    rooms.note_saved(changed)


def _update(room: str, newest: Trimming) -> UpdateOne:
    state = int64({"newest": newest.seq, "newest_at": newest.at, "count": newest.lost})
    return UpdateOne({"_id": f"room {room}"}, {"$max": state, "$setOnInsert": {"room": room}}, upsert=True)


def _state(found: Any) -> SharedState:
    forgotten = watermark(int(found["forgotten"]), int(found["forgotten_at"]))
    return SharedState(found["epoch"], int(found["counted"]), forgotten, int(found.get("timed_after", 0)))
