"""A worker: the same server as with one process, over the log process's log or a shared database."""

from __future__ import annotations

import asyncio
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
from roomcast.serve.listen import Endpoint
from roomcast.serve.memory import trim_heap_regularly
from roomcast.serve.minute import MinuteReport
from roomcast.serve.rights import reloadable_rights
from roomcast.serve.rules import reloadable_rules
from roomcast.serve.server import serve, signalled
from roomcast.serve.tls import Tls
from roomcast.serve.workers.orders import Channel, NeedsLog, Order, Report, StartDone
from roomcast.serve.workers.supervisor_link import SupervisorLink


async def run_worker(
    number: int,
    workers: int,
    restarts: int,
    settings: Settings,
    channel: Channel[Report, Order],
    endpoints: Sequence[Endpoint],
    guard: Guard,
    tls: Tls | None,
) -> None:
    """Runs worker `number` of `workers` until a signal, or an order on `channel` from the supervisor.

    It serves `endpoints` with `settings`, `guard` and `tls`, which the supervisor has prepared before the fork.
    `restarts` counts the earlier processes of this worker. Raises `CannotStart`."""
    stop = signalled()
    supervisor = SupervisorLink(channel, stop)
    supervisor.parts = [*([tls.reloadable] if tls else []), reloadable_rights(guard)]
    link = Link(lambda: supervisor.report(NeedsLog()))
    supervisor.on_connection(lambda _, connected: link.connect(connected))
    opening = _engine(settings, link, WorkerPeers(link, number, workers, restarts))

    async def started(engine: Engine) -> None:
        if is_shared(settings.log):
            supervisor.parts.append(reloadable_rules(engine.log))
        share(engine)
        beside.append(asyncio.create_task(MinuteReport(engine).run()))
        supervisor.report(StartDone())

    beside = [asyncio.create_task(trim_heap_regularly())]
    try:
        await serve(opening, stop, endpoints, guard, started, tls.context if tls else None)
    finally:
        await tasks.cancel(beside)


async def _engine(settings: Settings, link: Link, peers: WorkerPeers) -> Engine:
    """The engine over the log process's log, or over a shared log that this worker opens by itself."""
    log = await Engine.log_of(settings) if is_shared(settings.log) else await RemoteLog(link).opened()
    return await Engine.over(settings, log, peers)
