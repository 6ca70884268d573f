"""Starts a supervisor with its child processes from the options."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import uvloop

from roomcast.auth.guard import Guard
from roomcast.log import load_backend
from roomcast.model.errors import CannotStart
from roomcast.model.redact import redacted_url
from roomcast.model.settings import Settings
from roomcast.serve import rules
from roomcast.serve.banner import banner, log_start
from roomcast.serve.configuration import Configuration
from roomcast.serve.lines import log_to_stderr, log_unbuffered, say
from roomcast.serve.listen import Endpoint
from roomcast.serve.reload import Reload, Reloadable
from roomcast.serve.rights import reloadable_rights
from roomcast.serve.tls import Tls
from roomcast.serve.workers.child import LOG_PROCESS, Main
from roomcast.serve.workers.log_process import run_log_process
from roomcast.serve.workers.orders import Channel, Order, Past, Report
from roomcast.serve.workers.supervisor import Supervisor
from roomcast.serve.workers.worker import run_worker

Serving = Callable[[Settings, Channel[Report, Order], Past], Coroutine[Any, Any, None]]
"""Serves in a child, given the settings in force, its channel, and the past of its number."""


def supervise(
    configuration: Configuration, endpoints: Sequence[Sequence[Endpoint]], guard: Guard, tls: Tls | None
) -> int:
    """Serves with the options of `configuration` until a signal: a process for the log, and a worker for each item
    of `endpoints`, the sockets of that worker. All start with `guard` and `tls`. Returns the exit status. Raises
    `CannotStart`."""
    settings = configuration.settings
    log_unbuffered(settings.log_format, settings.log_level)
    load_backend(settings.log)  # once here, not in each process that is forked
    sockets = dict(enumerate(endpoints, LOG_PROCESS + 1))
    mains = {LOG_PROCESS: _main("log", run_log_process)} | {
        number: _main(str(number), _working(number, len(sockets), own, guard, tls))
        for number, own in sockets.items()
    }

    def started(contents: str) -> None:
        log = contents or redacted_url(settings.log)
        say(banner(settings, endpoints[0], guard, log, len(endpoints)))
        log_start(settings, endpoints[0], guard, log, len(endpoints))

    # The log process follows the room rules; here they are only named in the log line of a reload.
    followed = Reloadable(rules.NAME, rules.OPTIONS, lambda settings: lambda: None)
    parts = [
        *([tls.reloadable] if tls else []),
        reloadable_rights(guard, fetches=False),
        *([followed] if configuration.path else []),
    ]
    return Supervisor(settings, mains, sockets, Reload(configuration, parts), started).run()


def _working(number: int, workers: int, endpoints: Sequence[Endpoint], guard: Guard, tls: Tls | None) -> Serving:
    return lambda settings, channel, past: run_worker(
        number, workers, past.restarts, settings, channel, endpoints, guard, tls
    )


def _main(process: str, serving: Serving) -> Callable[[Settings, Past], Main]:
    """Makes the main function of a child, as `Supervisor` needs it; `process` is its name in the log lines."""

    def main(settings: Settings, past: Past, channel: Channel[Report, Order]) -> None:
        lines = log_to_stderr(settings.log_format, settings.access_log, settings.log_level, process)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serving(settings, channel, past))
        except CannotStart:
            raise
        except Exception as error:  # Python would print it without redaction
            sys.excepthook(type(error), error, error.__traceback__)
            raise SystemExit(1) from None
        finally:
            sys.stderr.flush()
            lines.end()

    return lambda settings, past: partial(main, settings, past)
