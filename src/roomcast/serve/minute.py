"""A log line each minute in which something was unusual: what it was, and what to do about it."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from roomcast.delivery.engine import Engine
from roomcast.http.families import retention_seconds
from roomcast.log import file_of
from roomcast.model.errors import LogUnavailable

MINUTE = 60.0
LONG_TURN = 1.0
"""Turns of the loop that take at least this many seconds are reported."""
SHORT_RETENTION = 600.0
"""A retention shorter than this is reported, in seconds."""
LITTLE_SPACE = 500_000_000
"""Free space of the log's disk below this is reported, in bytes."""
SLOW_APPEND, SLOW_SHARE = "0.5", 0.01
"""Slow publishes are reported if more than `SLOW_SHARE` of all publishes take longer than `SLOW_APPEND` seconds.
That is one of the bounds in `append_times`."""

COUNTED: Mapping[str, str] = {
    "rate": "{} publishes were over --publish-rate: the lines with 429 name the client",
    "memory": "{} requests found no memory for answers: find clients that do not read (roomcast followers), "
    "or raise --answer-memory",
    "log": "{} requests found the log away or not writable: GET /readyz says why",
    "rights": "{} requests came with a credential that could not be checked: the warnings in this log say "
    "which issuer of tokens to check",
    "defect": "{} requests failed because of a bug in roomcast: report the traceback in this log",
    "credential": "{} credentials were missing or refused: the lines of roomcast.audit say why",
    "host": "{} requests were for a host or from a page that is not served: the lines of roomcast.audit name "
    "it; use --allow-origin, or configure rights",
    "slow": "{} streams ended because their clients read nothing: run roomcast doctor URL where they are",
    "overload": "{} follows were refused or cut, for lack of places or memory: raise --max-followers and the file "
    "limit, or --answer-memory",
    "error": "{} streams ended because of an error, and resume: the warnings in this log say why",
    "trimmed": "{} gaps were reported, as clients were away for longer than messages are retained: raise "
    "--max-messages and --max-bytes",
}
"""The text for each count, with what to do."""
MEASURED: Mapping[str, str] = {
    "turn": "the process stood still for {:.1f} s: check whether the machine was suspended, swaps, or gives this "
    "process too little CPU",
    "appends": "{} publishes took over 0.5 s until they were durable: check whether the log's disk or database is "
    "slow, or the machine busy",
    "retention": "at this rate of publishing a message is retained for {:.0f} s: raise --max-messages and "
    "--max-bytes, or find the client in the lines with 201",
    "disk": "the log's disk has {:.0f} MB left: make room",
}
"""The same for measured values."""

logger = logging.getLogger("roomcast.server")


class MinuteReport:
    """Logs once a minute what was unusual in the engine's counts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._before = _counts(engine)
        self._appends = _appends(engine)

    async def run(self) -> None:
        """Reports each minute, for ever."""
        while True:
            await asyncio.sleep(MINUTE)
            try:
                await self.report()
            except Exception:  # a bug must not end the reports
                logger.exception("the summary of the last minute failed")

    async def report(self) -> None:
        """Logs what was unusual since the last check."""
        before, self._before = self._before, _counts(self._engine)
        counted = {name: count - before[name] for name, count in self._before.items() if count > before[name]}
        measured = dict([*self._of_process(), *await self._of_log()])
        if parts := [*(COUNTED[name].format(count) for name, count in counted.items()), *measured.values()]:
            fields: dict[str, Any] = {"unusual": [*counted, *measured]}
            logger.warning("in the last minute: %s", "; ".join(parts), extra={"fields": fields})

    def _of_process(self) -> Iterator[tuple[str, str]]:
        longest = self._engine.pace.take_longest_turn()
        if longest >= LONG_TURN:
            yield "turn", MEASURED["turn"].format(longest)
        before, self._appends = self._appends, _appends(self._engine)
        count, slow = (now - then for now, then in zip(self._appends, before, strict=True))
        if slow > SLOW_SHARE * count:
            yield "appends", MEASURED["appends"].format(slow)

    async def _of_log(self) -> list[tuple[str, str]]:
        found = []
        log = self._engine.log
        with suppress(LogUnavailable):
            lasts = retention_seconds(await log.bounds(), log.retention, self._engine.pace.rate)
            if lasts < min(SHORT_RETENTION, log.retention.max_age or SHORT_RETENTION):
                found.append(("retention", MEASURED["retention"].format(lasts)))
        if file := file_of(self._engine.settings.log):
            free = await asyncio.to_thread(_free, file)
            if free is not None and free < LITTLE_SPACE:
                found.append(("disk", MEASURED["disk"].format(free / 1e6)))
        return found


def _counts(engine: Engine) -> Mapping[str, int]:
    limiter, endings = engine.address_limiter, engine.streams.endings
    return {
        "rate": limiter.refused if limiter else 0,
        "memory": engine.answers.refused,
        **{name: engine.refusals[name] for name in ("log", "rights", "defect", "credential", "host")},
        **{name: endings.get(name, 0) for name in ("slow", "overload", "error")},
        "trimmed": engine.streams.gaps.get("trimmed", 0),
    }


def _appends(engine: Engine) -> tuple[int, int]:
    """How many publishes were stored since the start, and how many of them slowly."""
    times = engine.append_times
    return times.count, times.count - dict(times.buckets())[SLOW_APPEND]


def _free(file: str) -> int | None:
    """Free bytes on the file's disk; None if unknown. Blocks."""
    try:
        disk = os.statvfs(os.path.dirname(os.path.realpath(file)))
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize
