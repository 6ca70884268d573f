"""A worker: the server of one process, whose log is another process's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from roomcast import tasks
from roomcast.auth.guard import Guard
from roomcast.delivery.engine import Engine
from roomcast.http.metrics import share
from roomcast.log import is_shared
from roomcast.log.remote.link import Link
from roomcast.log.remote.log import RemoteLog
from roomcast.log.remote.peers import WorkerPeers
from roomcast.model.settings import Settings
from roomcast.serve.listen import Listening
from roomcast.serve.memory import go_on_returning
from roomcast.serve.minute import Minute
from roomcast.serve.rights import reloadable
from roomcast.serve.rules import rules_of
from roomcast.serve.server import serve, signalled
from roomcast.serve.tls import Tls
from roomcast.serve.workers.obey import Obedience
from roomcast.serve.workers.orders import Channel, Ready, Wanted


async def work(
    number: int,
    workers: int,
    settings: Settings,
    channel: Channel,
    listening: Sequence[Listening],
    guard: Guard,
    tls: Tls | None,
) -> None:
    """Worker `number` of `workers`: serves until a signal, or until the supervisor says so. Raises
    `CannotStart`."""
    loop = asyncio.get_running_loop()
    stop = signalled()
    obedience = Obedience(channel, stop)
    obedience.things = [*([tls.reloadable] if tls else []), reloadable(guard)]
    link = Link(lambda: obedience.say(Wanted()))
    peers = WorkerPeers(link, number, workers)
    connecting: set[asyncio.Task[None]] = set()

    def connect(worker: int, connected: socket.socket) -> None:
        task = loop.create_task(link.connect(connected))
        connecting.add(task)
        task.add_done_callback(connecting.discard)

    obedience.connect = connect

    async def open_engine() -> Engine:
        if is_shared(settings.log):
            return await Engine.over(settings, await Engine.log_of(settings), peers)
        log = RemoteLog(link)
        return await Engine.over(settings, await log.opened(), peers)

    async def started(engine: Engine) -> None:
        if is_shared(settings.log):
            obedience.things.append(rules_of(engine.log))
        share(engine)
        beside.append(loop.create_task(Minute(engine).run()))
        obedience.say(Ready())

    beside = [loop.create_task(go_on_returning())]
    try:
        await serve(open_engine(), stop, listening, guard, started, tls.context if tls else None)
    finally:
        await tasks.cancel(beside)
