"""Compares one process with workers, on all cores, with the load beside them: `python -m benchmarks.workers`.

The rounds are interleaved, and each figure is the median of the rounds. The costs are CPU time as the kernel
counts it, which a busy machine disturbs little; it does disturb rates and latencies."""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import load, machine

_FOLLOW, _PUBLISH = "/messages?room={room}&replay=none", "/messages"
WORK: Mapping[str, Mapping[str, object]] = {
    "5,000 followers, paced": {"followers": 5000, "publishers": 4, "rate": 10},
    "1,000 followers, full speed": {"followers": 1000, "publishers": 4},
    "1,000 followers of 100 rooms": {"followers": 1000, "rooms": 100, "publishers": 16},
}
DURABLE: Mapping[str, object] = {"followers": 0, "publishers": 32}
IDLE = (5000, 17000)
"""Followers whose memory is measured."""


@contextmanager
def _serving(workers: int, log: str) -> Iterator[tuple[int, list[int]]]:
    """A server; its port and its processes."""
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port=0", "--page-port=0", "--no-access-log", f"--log={log}", f"--workers={workers}"]
        said = Path(folder) / "said"
        with said.open("wb") as output:
            command = [sys.executable, "-m", "roomcast", "serve", *options]
            process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)
        try:
            while not (found := re.search(r"follow +http://\S+?:(\d+)/", said.read_text())):
                if process.poll() is not None:
                    raise load.Failed(said.read_text())
                time.sleep(0.02)
            time.sleep(0.1)
            yield int(found[1]), machine.family(process.pid)
        finally:
            process.terminate()
            process.wait(20)


def _run(port: int, pids: Sequence[int], options: Mapping[str, object], seconds: float) -> load.Figures:
    """One run of the load."""
    said = subprocess.run(_command(port, pids, options, seconds), capture_output=True, text=True, timeout=120)
    return load._figures(said.stdout)


def _command(port: int, pids: Sequence[int], options: Mapping[str, object], seconds: float) -> list[str]:
    body = '{"room":"{room}","text":"{text}"}'
    given = {"port": port, "follow": _FOLLOW, "publish": _PUBLISH, "body": body, "seconds": seconds, **options}
    given["processes"] = ",".join(map(str, pids))
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items()]
    return [str(load.build(load.SINK)), *flags]


def _proportional_kb(pids: Sequence[int]) -> int:
    """The memory of processes in KiB; shared pages are counted once."""
    texts = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids)
    return sum(int(kb) for text in texts for kb in re.findall(r"^Pss: +(\d+)", text, re.MULTILINE))


def _idle(workers: int) -> tuple[float, float]:
    """KiB of a server without followers, and KiB of each further follower. The latter is taken between two numbers
    of followers: with the first, the processes already have their own copies of the shared pages that they write
    to."""
    with _serving(workers, "memory:") as (port, pids):
        before = _proportional_kb(pids)
        few, many = (_held_kb(port, pids, followers) for followers in IDLE)
        return before, (many - few) / (IDLE[1] - IDLE[0])


def _held_kb(port: int, pids: Sequence[int], followers: int) -> int:
    options = {"followers": followers, "hold": True}
    pipe = subprocess.PIPE
    holding = subprocess.Popen(_command(port, pids, options, 5), stdin=pipe, stdout=pipe, text=True)
    assert holding.stdout
    load._figures(holding.stdout.readline())
    held = _proportional_kb(pids)
    holding.communicate()
    return held


def main() -> None:
    """Prints the costs for each number of workers that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="numbers that are compared")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3)
    given = parser.parse_args()
    for title, options in WORK.items():
        for number, rounds in _rounds(given, "memory:", options).items():
            print(f"{title}: {number} workers, {_cost(rounds, 'deliveries'):.2f} µs CPU a delivery")
    for number, rounds in _rounds(given, "sqlite:bench.db", DURABLE).items():
        rate = statistics.median(one["publishes_per_s"] for one in rounds)
        cost = _cost(rounds, "acked")
        print(f"durable, 32 connections: {number} workers, {rate:,.0f} publishes/s, {cost:.0f} µs CPU a publish")
    for number in given.workers:
        whole, each = _idle(number)
        print(f"memory: {number} workers, {whole / 1024:.1f} MiB idle, {each:.2f} KiB a follower")


def _rounds(given: argparse.Namespace, log: str, options: Mapping[str, object]) -> dict[int, list[load.Figures]]:
    found: dict[int, list[load.Figures]] = {number: [] for number in given.workers}
    for _ in range(given.rounds):
        for number in given.workers:
            with _serving(number, log) as (port, pids):
                found[number].append(_run(port, pids, options, given.seconds))
    return found


def _cost(rounds: Sequence[load.Figures], of: str) -> float:
    """CPU time for each, in µs."""
    return statistics.median(1e6 * one["cpu_s"] / one[of] for one in rounds)


if __name__ == "__main__":
    main()
