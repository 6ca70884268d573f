"""The process that owns the log and passes messages between workers. With a shared database each worker opens the
log itself, and this process only passes messages."""

from __future__ import annotations

import asyncio
import signal

from roomcast import tasks
from roomcast.delivery.engine import Engine
from roomcast.http.metrics import TOPIC
from roomcast.log import is_shared
from roomcast.log.base import Log
from roomcast.log.remote.server import LogServer
from roomcast.model.settings import Settings
from roomcast.serve.banner import contents
from roomcast.serve.memory import trim_heap_regularly
from roomcast.serve.rules import reloadable_rules
from roomcast.serve.workers.orders import Channel, Keep, Order, Past, Report, StartDone
from roomcast.serve.workers.retired import RetiredCounts
from roomcast.serve.workers.supervisor_link import SupervisorLink


async def run_log_process(settings: Settings, channel: Channel[Report, Order], past: Past) -> None:
    """Keeps the log that `settings` name until the supervisor, on `channel`, ends this process, after the workers.
    `past` is that of the log processes before this one. Raises `LogUnusable`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # a terminal sends them to all processes at once
        signal.signal(number, signal.SIG_IGN)
    stop = loop.create_future()
    supervisor = SupervisorLink(channel, stop)
    log: Log | None = await Engine.log_of(settings)
    assert log
    description = await contents(log)
    if is_shared(settings.log):  # its epoch has begun; each worker opens the log itself
        await log.close()
        log = None
    server = LogServer(log)
    RetiredCounts(past, lambda counts: supervisor.report(Keep(counts))).join(server.exchange, TOPIC)
    supervisor.on_connection(server.connect)
    if log:
        supervisor.parts.append(reloadable_rules(log, server.tell_status))
    supervisor.report(StartDone(description))
    returning = loop.create_task(trim_heap_regularly())
    try:
        await stop
    finally:
        await tasks.cancel([returning])
        server.close()
        if log:
            await log.close()
