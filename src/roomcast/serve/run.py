"""From options to a running server, and the lines that say where it is."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from collections.abc import Sequence

import uvloop

from roomcast import tasks
from roomcast.delivery.engine import Engine
from roomcast.log.base import Log
from roomcast.model.errors import CannotStart, LogUnavailable
from roomcast.model.settings import OPTIONS, Settings
from roomcast.serve.configuration import Configuration
from roomcast.serve.lines import log_to_stderr, say
from roomcast.serve.listen import UNIX, Listening, bind, bind_unix, raise_file_limit
from roomcast.serve.reload import Reload
from roomcast.serve.rules import rules_of
from roomcast.serve.server import serve
from roomcast.serve.tls import Tls, tls_of
from roomcast.version import __version__

_SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter's lock from another. Beside a saturated loop, with Python's 5 ms, the
log's writer waited up to seconds for it (p99 of an append 65 to 377 ms); with 1 ms it was 14 ms."""

_EXAMPLE = '{"text": "was geht ab in buxtehude?", "room": "developers"}'


def run(configuration: Configuration) -> None:
    """Serves until a signal. Raises `CannotStart`, with one sentence that says what to do."""
    settings = configuration.settings
    _open_standard_files()
    raise_file_limit()
    tls = tls_of(settings)
    listening = _listen(configuration)
    try:
        _run(configuration, listening, tls)
    finally:
        for port in listening:
            port.remove()


def _run(configuration: Configuration, listening: Sequence[Listening], tls: Tls | None) -> None:
    settings = configuration.settings
    log_to_stderr(settings.log_format, settings.access_log, settings.log_level)
    sys.setswitchinterval(_SWITCH_SECONDS)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(configuration, listening, tls))


def _listen(configuration: Configuration) -> list[Listening]:
    settings = configuration.settings
    if settings.host.startswith(UNIX):
        for option in ("port", "page_port"):
            if configuration.chose(option) and getattr(settings, option):
                raise CannotStart(f"a socket file has no ports: leave out {OPTIONS[option].flag}, or give it 0")
        return [bind_unix(settings.host.removeprefix(UNIX))]
    if settings.port and settings.port == settings.page_port:
        raise CannotStart(
            f"--port and --page-port are both {settings.port}: give one of them another, or --page-port 0"
        )
    listening = [bind(settings.host, settings.port, settings.slow_after, "--port")]
    if settings.page_port:
        listening += _page_port(settings, listening[0].port, configuration.chose("page_port"))
    return listening


def _open_standard_files() -> None:
    """Opens those that are closed: the database or a client would be given their numbers, and libuv aborts when it
    closes one of these."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


async def _serve(configuration: Configuration, listening: Sequence[Listening], tls: Tls | None) -> None:
    settings = configuration.settings

    async def started(engine: Engine) -> None:
        if configuration.path:
            reload.things.append(rules_of(engine.log))
        await asyncio.to_thread(say, banner(settings, listening, await _held(engine.log)))

    reload = Reload(configuration, [tls.reloadable] if tls else [])
    reloading = asyncio.create_task(reload.run())
    try:
        await serve(settings, listening, started, tls.context if tls else None)
    finally:
        await tasks.cancel([reloading])


def _page_port(settings: Settings, port: int, chosen: bool) -> list[Listening]:
    try:
        return [bind(settings.host, settings.page_port, settings.slow_after, "--page-port")]
    except CannotStart as error:
        if chosen:
            raise
        say(f"roomcast: {error.detail}. Here the page is at / of port {port}")
        return []


async def _held(log: Log) -> str:
    try:
        bounds = await log.bounds()
    except LogUnavailable as error:
        return f"{log.name}, away: {error.detail}"
    most = log.retention
    held = f"{bounds.messages} of {most.max_messages} messages"
    return f"{log.name}, {held}, {bounds.bytes} of {most.max_bytes} bytes"


def banner(settings: Settings, listening: Sequence[Listening], log: str) -> str:
    """What runs, where to post, follow and look, and what the log holds: a line each. There is nothing to look at
    with a browser at a socket file."""
    api, page = (_address(settings, port) for port in (listening[0], listening[-1]))
    path = listening[0].path
    curl = f"curl --unix-socket {shlex.quote(path)}" if path else "curl"
    follow = f"{api}/messages?room=developers"
    lines = [
        f"roomcast {__version__}",
        f"  post    {curl} -X POST -H 'Content-Type: application/json' -d '{_EXAMPLE}' {api}/messages",
        f"  follow  {curl} -N '{follow}'" if path else f"  follow  {follow}",
        "" if path else f"  look    {page}/?room=developers",
        f"  log     {log}",
    ]
    return "\n".join(filter(None, lines))


def _address(settings: Settings, port: Listening) -> str:
    scheme = "https" if settings.tls_cert else "http"
    if port.path:
        return f"{scheme}://localhost"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{scheme}://{host}:{port.port}"
