"""Starts a server from its options."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

import uvloop

from roomcast import tasks
from roomcast.auth.guard import Guard, Mode
from roomcast.delivery.engine import Engine
from roomcast.model.errors import CannotStart
from roomcast.model.settings import OPTIONS, Settings
from roomcast.serve.activation import passed_sockets
from roomcast.serve.banner import banner, contents, log_start
from roomcast.serve.configuration import Configuration
from roomcast.serve.lines import log_to_stderr, say
from roomcast.serve.listen import UNIX, Endpoint, bind_each, check_unreachable, raise_file_limit
from roomcast.serve.memory import fix_mmap_threshold, trim_heap_regularly
from roomcast.serve.minute import MinuteReport
from roomcast.serve.reload import Reload
from roomcast.serve.rights import reloadable_rights
from roomcast.serve.rules import reloadable_rules
from roomcast.serve.server import serve, signalled
from roomcast.serve.socket_file import bind_unix
from roomcast.serve.systemd import READY, feed_watchdog, tell
from roomcast.serve.tls import Tls, tls_of

_SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter's lock while another waits for it. With Python's 5 ms and a saturated
loop, the log's writer waited for the lock for up to seconds (p99 of an append: 65 to 377 ms). With 1 ms, p99 was
14 ms; 0.5 ms leaves a margin."""


def run(configuration: Configuration) -> None:
    """Serves with the options of `configuration` until a signal. Raises `CannotStart`, with one sentence that says
    what to do."""
    settings = configuration.settings
    _open_standard_files()
    passed = passed_sockets(settings.slow_after)
    fix_mmap_threshold()
    raise_file_limit()
    tls = tls_of(settings)
    guard = Guard.of(settings)
    if guard.mode is Mode.LOCAL:
        for host in {one.host for one in passed} or {settings.host}:
            check_unreachable(host)
    sys.setswitchinterval(_SWITCH_SECONDS)
    endpoints = _listen(configuration, passed, settings.worker_count)
    try:
        if len(endpoints) > 1:
            from roomcast.serve.workers.run import supervise  # late: one process needs none of it

            sys.exit(supervise(configuration, endpoints, guard, tls))
        _run(configuration, endpoints[0], guard, tls)
    finally:
        for endpoint in endpoints[0]:
            endpoint.remove()


def _run(configuration: Configuration, endpoints: Sequence[Endpoint], guard: Guard, tls: Tls | None) -> None:
    settings = configuration.settings
    log_to_stderr(settings.log_format, settings.access_log, settings.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(configuration, endpoints, guard, tls))


def _listen(configuration: Configuration, passed: list[Endpoint], number: int) -> list[list[Endpoint]]:
    """The sockets of each of `number` processes: those that systemd passed, that of the socket file, or those of
    the port and the page's port."""
    settings = configuration.settings
    if passed:
        for option in ("host", "port", "page_port"):
            if configuration.is_given(option):
                raise CannotStart(f"systemd passes the sockets to listen on: leave out {OPTIONS[option].flag}")
        return [passed] * number
    if settings.host.startswith(UNIX):
        for option in ("port", "page_port"):
            if configuration.is_given(option) and getattr(settings, option):
                raise CannotStart(f"a socket file has no ports: leave out {OPTIONS[option].flag}, or give it 0")
        return [[bind_unix(settings.host.removeprefix(UNIX))]] * number
    if settings.port and settings.port == settings.page_port:
        raise CannotStart(
            f"--port and --page-port are both {settings.port}: give one of them another, or --page-port 0"
        )
    ports = bind_each(settings.host, settings.port, settings.slow_after, "--port", number)
    if settings.page_port:
        pages = _page_port(settings, ports[0].port, configuration.is_given("page_port"), number)
        return [[port, *([page] if page else [])] for port, page in zip(ports, pages, strict=True)]
    return [[port] for port in ports]


def _open_standard_files() -> None:
    """Opens standard files that are closed. Otherwise the database or a client would get their numbers, and libuv
    aborts when it closes one of these."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


async def _serve(
    configuration: Configuration, endpoints: Sequence[Endpoint], guard: Guard, tls: Tls | None
) -> None:
    settings = configuration.settings

    async def started(engine: Engine) -> None:
        if configuration.path:
            reload.parts.append(reloadable_rules(engine.log))
        log = await contents(engine.log)
        await asyncio.to_thread(say, banner(settings, endpoints, guard, log))
        log_start(settings, endpoints, guard, log)
        beside.append(asyncio.create_task(MinuteReport(engine).run()))
        await tell(READY)

    reload = Reload(configuration, [*([tls.reloadable] if tls else []), reloadable_rights(guard)])
    beside = [asyncio.create_task(endless) for endless in (reload.run(), trim_heap_regularly(), feed_watchdog())]
    try:
        opening = Engine.open(settings)
        await serve(opening, signalled(), endpoints, guard, started, tls.context if tls else None)
    finally:
        await tasks.cancel(beside)


def _page_port(settings: Settings, port: int, chosen: bool, number: int) -> Sequence[Endpoint | None]:
    try:
        return bind_each(settings.host, settings.page_port, settings.slow_after, "--page-port", number)
    except CannotStart as error:
        if chosen:
            raise
        say(f"roomcast: {error.detail}. Here the page is at / of port {port}")
        return [None] * number
