"""`make soak`: 2,000 followers come and go for 20 minutes; afterwards the server must be as it was.

The attack runs in rounds of a minute, so that its own memory stays small. Each round measures the server during
the attack, and again when all followers have left. A figure that grows from round to round is a leak.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from roomcast.torture.attack import Attack, Plan
from roomcast.torture.show import delays
from roomcast.torture.target import Target
from tests.hardening.process import cpu_seconds, open_files, resident_bytes, tcp_bytes, threads
from tests.hardening.tasks import TELLING, tasks_of
from tests.running import Running, start_roomcast, wait_for

_PLAN = {"publishers": 4, "rooms": 40, "pause": 0.2, "life": 20.0}
_RETAINED = 1_000
"""Fewer messages than half a minute brings, so that the log trims and some followers that come back get a gap."""
_LOOK_SECONDS = 5.0
_MEMORY_GROWTH, _MEMORY_SLACK = 1.1, 5_000_000
"""The last round may take this factor, and this many bytes, more memory than the middle one."""


@dataclass
class Round:
    """The figures of one round: samples during the attack, and `…_after` when all followers have left."""

    memory: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)
    kernel: list[int] = field(default_factory=list)
    cpu: float = 0
    """Seconds."""
    memory_after: int = 0
    files_after: int = 0
    threads_after: int = 0
    tasks_after: int = 0

    def look(self, server: Running) -> None:
        pid = server.process.pid
        self.memory.append(resident_bytes(pid))
        self.files.append(open_files(pid))
        self.threads.append(threads(pid))
        self.tasks.append(tasks_of(server))
        self.kernel.append(tcp_bytes())

    def look_after(self, server: Running) -> None:
        pid = server.process.pid
        self.memory_after, self.files_after = resident_bytes(pid), open_files(pid)
        self.threads_after, self.tasks_after = threads(pid), tasks_of(server)


def soak(server: Running, followers: int, minutes: float) -> tuple[Sequence[Round], list[str]]:
    """Attacks `server` for `minutes`. Returns the figures of each round, and what is wrong."""
    rounds: list[Round] = []
    wrong: list[str] = []
    print(_HEADINGS)
    end = time.monotonic() + 60 * minutes
    while time.monotonic() < end:
        seconds = min(60.0, end - time.monotonic())
        rounds.append(Round())
        found = _attack(server, Plan(seconds=seconds, followers=followers, **_PLAN), rounds[-1])  # type: ignore[arg-type]
        wrong += found.record.violations
        print(_line(len(rounds), rounds[-1], found), flush=True)
    return rounds, wrong + _growth(rounds)


def _attack(server: Running, plan: Plan, seen: Round) -> Attack:
    pid = server.process.pid
    before = cpu_seconds(pid)
    found = Attack(Target.parse(server.url), plan)
    asyncio.run(_watch(found, seen, server))
    seen.cpu = cpu_seconds(pid) - before
    wait_for(lambda: server.metric("roomcast_followers") == 0, "all followers to leave")
    seen.look_after(server)
    return found


async def _watch(under_way: Attack, seen: Round, server: Running) -> None:
    running = asyncio.create_task(under_way.run())
    while not (await asyncio.wait({running}, timeout=_LOOK_SECONDS))[0]:
        await asyncio.to_thread(seen.look, server)
    running.result()


def _growth(rounds: Sequence[Round]) -> list[str]:
    """Compares the last round with the middle one. The first half is for warming up: memory stays at the level of
    the largest burst, and large bursts are rare. A leak goes on growing."""
    early, late = rounds[len(rounds) // 2], rounds[-1]
    grown = [
        f"{what} grew from {then:,.0f} to {now:,.0f}"
        for what, then, now in (
            ("memory under attack", mean(early.memory), mean(late.memory)),
            ("memory afterwards", early.memory_after, late.memory_after),
        )
        if now > then * _MEMORY_GROWTH + _MEMORY_SLACK
    ]
    grown += [
        f"{what} went from {then} to {now}"
        for what, then, now in (
            ("open files afterwards", early.files_after, late.files_after),
            ("threads afterwards", early.threads_after, late.threads_after),
            ("tasks afterwards", early.tasks_after, late.tasks_after),
        )
        if now > then
    ]
    return grown


_HEADINGS = (
    "round | under attack: MB  files  threads  tasks  TCP MB  CPU s | after: MB  files  threads  tasks | "
    "acknowledged  deliveries  resumes  gaps   p50 ms   p99 ms  violations"
)


def _line(number: int, seen: Round, found: Attack) -> str:
    counts = found.record.counts
    p50, p99 = (delay * 1000 for delay in delays(found))
    return (
        f"{number:5} | {mean(seen.memory) / 1e6:16.1f}{max(seen.files):7}{max(seen.threads):9}{max(seen.tasks):7}"
        f"{mean(seen.kernel) / 1e6:8.1f}{seen.cpu:7.1f} | {seen.memory_after / 1e6:9.1f}{seen.files_after:7}"
        f"{seen.threads_after:9}{seen.tasks_after:7} | {counts['acknowledged']:12,}{counts['deliveries']:12,}"
        f"{counts['resumes']:9,}{counts['gaps']:6,}{p50:9.1f}{p99:9.1f}{counts['violations']:12}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--followers", type=int, default=2_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options = ("--no-access-log", f"--max-messages={_RETAINED}")
        server = start_roomcast(Path(folder), *options, program=("-c", TELLING))
        try:
            _, wrong = soak(server, given.followers, given.minutes)
            status = server.terminate()
        finally:
            server.kill()
    wrong += [f"the server ended with {status}"] if status else []
    print("\n".join(wrong or ["Nothing broke, nothing grew."]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
