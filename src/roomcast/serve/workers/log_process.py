"""The process that owns the log and passes messages between workers. With a shared database each worker opens the
log itself, and this process only passes messages."""

from __future__ import annotations

import asyncio
import signal
import socket

from roomcast import tasks
from roomcast.delivery.engine import Engine
from roomcast.http.metrics import TOPIC
from roomcast.log import is_shared
from roomcast.log.base import Log
from roomcast.log.remote.server import LogServer
from roomcast.model.settings import Settings
from roomcast.serve.banner import held
from roomcast.serve.memory import go_on_returning
from roomcast.serve.rules import rules_of
from roomcast.serve.workers.obey import Obedience
from roomcast.serve.workers.orders import Channel, Ready
from roomcast.serve.workers.retired import Retired


async def keep_log(settings: Settings, channel: Channel) -> None:
    """Runs until the supervisor ends it, after the workers. Raises `LogUnusable`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):  # such as from a terminal, to all processes at once
        signal.signal(number, signal.SIG_IGN)
    stop = loop.create_future()
    obedience = Obedience(channel, stop)
    waiting: list[tuple[int, socket.socket]] = []
    obedience.connect = lambda worker, connected: waiting.append((worker, connected))
    log: Log | None = await Engine.log_of(settings)
    assert log
    said = await held(log)
    if is_shared(settings.log):  # it is there now, under its epoch, and each worker opens it by itself
        await log.close()
        log = None
    server = LogServer(log)
    Retired().join(server.exchange, TOPIC)
    connecting: set[asyncio.Task[None]] = set()

    def connect(worker: int, connected: socket.socket) -> None:
        task = loop.create_task(server.connect(worker, connected))
        connecting.add(task)
        task.add_done_callback(connecting.discard)

    obedience.connect = connect
    for worker, connected in waiting:
        connect(worker, connected)
    if log:
        obedience.things.append(rules_of(log, server.tell_status))
    obedience.say(Ready(said))
    returning = loop.create_task(go_on_returning())
    try:
        await stop
    finally:
        await tasks.cancel([returning])
        server.close()
        if log:
            await log.close()
