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
from roomcast.serve.lines import log_at_once, log_to_stderr, say
from roomcast.serve.listen import Listening
from roomcast.serve.reload import Reload, Reloadable
from roomcast.serve.rights import reloadable
from roomcast.serve.tls import Tls
from roomcast.serve.workers.child import LOG, Main
from roomcast.serve.workers.log_process import keep_log
from roomcast.serve.workers.orders import Channel, Order, Report
from roomcast.serve.workers.supervisor import Supervisor
from roomcast.serve.workers.worker import work

Serving = Callable[[Settings, Channel[Report, Order], int], Coroutine[Any, Any, None]]
"""Serves in a child, given the settings in force, its channel, and how often it was restarted before."""


def supervise(
    configuration: Configuration, listening: Sequence[Sequence[Listening]], guard: Guard, tls: Tls | None
) -> int:
    """Serves until a signal, from as many workers as `listening` has sets of sockets, and a process for the log.
    Returns the exit status. Raises `CannotStart`."""
    settings = configuration.settings
    log_at_once(settings.log_format, settings.log_level)
    load_backend(settings.log)  # once here, not in each process that is forked
    sockets = dict(enumerate(listening, LOG + 1))
    mains = {LOG: _main("log", keep_log)} | {
        number: _main(str(number), _working(number, len(sockets), own, guard, tls))
        for number, own in sockets.items()
    }

    def started(contents: str) -> None:
        log = contents or redacted_url(settings.log)
        say(banner(settings, listening[0], guard, log, len(listening)))
        log_start(settings, listening[0], guard, log, len(listening))

    # The log process follows the room rules; here they are only named in the log line of a reload.
    followed = Reloadable(rules.NAME, rules.OPTIONS, lambda settings: lambda: None)
    parts = [
        *([tls.reloadable] if tls else []),
        reloadable(guard, fetches=False),
        *([followed] if configuration.path else []),
    ]
    return Supervisor(settings, mains, sockets, Reload(configuration, parts), started).run()


def _working(number: int, workers: int, listening: Sequence[Listening], guard: Guard, tls: Tls | None) -> Serving:
    return lambda settings, channel, restarts: work(
        number, workers, restarts, settings, channel, listening, guard, tls
    )


def _main(process: str, serving: Serving) -> Callable[[Settings, int], Main]:
    """Makes the main function of a child, as `Supervisor` needs it; `process` is its name in the log lines."""

    def main(settings: Settings, restarts: int, channel: Channel[Report, Order]) -> None:
        lines = log_to_stderr(settings.log_format, settings.access_log, settings.log_level, process)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serving(settings, channel, restarts))
        except CannotStart:
            raise
        except Exception as error:  # Python would print it without redaction
            sys.excepthook(type(error), error, error.__traceback__)
            raise SystemExit(1) from None
        finally:
            sys.stderr.flush()
            lines.end()

    return lambda settings, restarts: partial(main, settings, restarts)
