"""Finds where a stream or a page starts."""

from __future__ import annotations

import time

from roomcast.api.query import After, Ago, Everything, Newest, Origin, Since
from roomcast.delivery.engine import Engine
from roomcast.delivery.gap import Opening, gap_of_unusable_id
from roomcast.model.errors import LogUnavailable
from roomcast.model.message import MessageId
from roomcast.model.rooms import Selection


async def locate(engine: Engine, selection: Selection, origin: Origin) -> Opening:
    """Finds where a stream or page of the rooms in `selection` starts if the client asks for `origin`: in the
    window in memory of `engine`, or in its log. Returns when the tail has reached the start. Raises
    `LogUnavailable`, also in the moment in which the log has a new epoch that the hub has not met yet."""
    engine.check()
    epoch = engine.hub.epoch
    opening = from_window(engine, selection, origin)
    if opening is None:
        opening = await _from_log(engine, selection, origin)
        if engine.log.epoch != epoch:  # compared with the log's newest seq, an old id would be called `future`
            raise LogUnavailable("The log goes on under a new epoch: ask again.")
        await engine.tail.reached(opening.position)
    return opening._replace(epoch=epoch)


def from_window(engine: Engine, selection: Selection, origin: Origin) -> Opening | None:
    """The start that `locate` returns, if the window in memory of `engine` is enough to find it, as it is for
    clients that reconnect together; else None. `selection` and `origin` are those of `locate`."""
    hub = engine.hub
    match origin:
        case After(id):
            parsed = MessageId.parse(id)
            if parsed is None:
                return _start_over(engine, selection, id, "malformed")
            if parsed.epoch == hub.epoch:
                return Opening(parsed.seq) if parsed.seq <= hub.position else None
            # The log may have begun a new epoch that the hub has not met yet.
            return None if parsed.epoch == engine.log.epoch else _start_over(engine, selection, id, "epoch")
        case Newest(limit):
            position = hub.seek_newest(selection, limit)
            # Messages between the newest ones may be trimmed already. This client has not lost them.
            return None if position is None else Opening(position, exact=hub.is_whole_after(position))
        case Everything():
            return Opening(hub.trimmed, exact=False)
    return None


async def _from_log(engine: Engine, selection: Selection, origin: Origin) -> Opening:
    match origin:
        case Since(moment):
            return Opening(await engine.log.seek_time(selection, moment), position_known=False)
        case Ago(duration):
            return await _from_log(engine, selection, Since(max(0, time.time_ns() // 1_000_000 - duration)))
        case Newest(limit):
            position = await engine.log.seek_newest(selection, limit)
            return Opening(position, start_page=await engine.log.read(selection, position, 1))
        case After(id) if (parsed := MessageId.parse(id)) and parsed.seq <= (await engine.log.bounds()).newest:
            return Opening(parsed.seq)  # the tail will bring it: the client has the id from its own POST
        case After(id):
            return _start_over(engine, selection, id, "future")
        case Everything():  # pragma: no cover - from_window always knows where everything begins
            raise AssertionError(origin)


def _start_over(engine: Engine, selection: Selection, id: str, reason: str) -> Opening:
    """The start for an id that is unknown here: everything retained, and a gap that says why. At worst the client
    gets a message twice, under another id."""
    return Opening(engine.hub.trimmed, gap_of_unusable_id(id, selection, reason), exact=False)
