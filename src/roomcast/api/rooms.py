"""`GET /rooms`: the rooms that hold messages or are followed."""

from __future__ import annotations

from collections import Counter

import msgspec

from roomcast.api.request import JSON, Answer, Request
from roomcast.delivery.engine import Engine
from roomcast.model.message import MessageId, rfc3339


async def rooms(engine: Engine, request: Request, asked: None) -> Answer:
    """Each room that has messages or followers."""
    followers = Counter(room for stream in engine.streams.active for room in stream.rooms)
    known = [
        {
            "room": stats.room,
            "messages": stats.messages,
            "newest": str(MessageId(engine.log.epoch, stats.newest)),
            "newest_at": rfc3339(stats.newest_at),
            "followers": followers.pop(stats.room, 0),
        }
        for stats in await engine.log.rooms()
    ]
    known += [
        {"room": room, "messages": 0, "newest": None, "newest_at": None, "followers": count}
        for room, count in followers.items()
    ]
    body = msgspec.json.encode({"rooms": sorted(known, key=lambda row: str(row["room"]))})
    return Answer(200, JSON, body)
