"""Where a stream or a page starts."""

from __future__ import annotations

import time

from roomcast.api.query import After, Ago, Everything, Newest, Origin, Since
from roomcast.delivery.engine import Engine
from roomcast.delivery.gap import Opening, unknown
from roomcast.model.message import MessageId
from roomcast.model.rooms import Selection


async def locate(engine: Engine, selection: Selection, origin: Origin) -> Opening:
    """The start, from the log where memory does not tell it. Raises `LogUnavailable`."""
    engine.check()
    epoch = engine.hub.epoch
    opening = from_window(engine, selection, origin)
    if opening is None:
        opening = await _from_log(engine, selection, origin)
        await engine.tail.reached(opening.position)
    return opening._replace(epoch=epoch)


def from_window(engine: Engine, selection: Selection, origin: Origin) -> Opening | None:
    """The start, if that can be told without the log, as it can for a crowd that reconnects."""
    hub = engine.hub
    match origin:
        case After(id):
            parsed = MessageId.parse(id)
            if parsed is None:
                return _start_over(engine, selection, id, "malformed")
            if parsed.epoch != hub.epoch:
                return _start_over(engine, selection, id, "epoch")
            return Opening(parsed.seq) if parsed.seq <= hub.position else None
        case Newest(limit):
            position = hub.seek_newest(selection, limit)
            # What was cut between them before is no loss of this client's.
            return None if position is None else Opening(position, exact=hub.is_whole_after(position))
        case Everything():
            return Opening(hub.trimmed, exact=False)
    return None


async def _from_log(engine: Engine, selection: Selection, origin: Origin) -> Opening:
    match origin:
        case Since(moment):
            return Opening(await engine.log.seek_time(selection, moment), named=False)
        case Ago(duration):
            return await _from_log(engine, selection, Since(max(0, time.time_ns() // 1_000_000 - duration)))
        case Newest(limit):
            position = await engine.log.seek_newest(selection, limit)
            return Opening(position, before=await engine.log.read(selection, position, 1))
        case After(id) if (parsed := MessageId.parse(id)) and parsed.seq <= (await engine.log.bounds()).newest:
            return Opening(parsed.seq)  # stored, and on its way here: the client has it from its own POST
        case After(id):
            return _start_over(engine, selection, id, "future")
    raise AssertionError(origin)


def _start_over(engine: Engine, selection: Selection, id: str, reason: str) -> Opening:
    """An id that says nothing here: over everything retained, and a gap says why. The worst that can come of it
    is a message twice, under another id."""
    return Opening(engine.hub.trimmed, unknown(id, selection, reason), exact=False)
