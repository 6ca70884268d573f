"""How much a publish waits while a lowered cap is being reached: trimming must never hold up publishing.

Fills a log with a million small messages, then publishes at a steady rate with and without anything to trim,
and prints how long a publish takes.

    python benchmarks/trim_latency.py [--messages 1000000] [--publishers 16] [--rate 1000] [--directory .]
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from roomcast.log import open_log
from roomcast.log.base import Log
from roomcast.model.message import Draft
from roomcast.model.retention import Retention

BODY = b'{"user":"anonymous","text":"was geht ab in buxtehude?"}'
FILL_BATCH = 1_000
CAP = 1_000


async def _fill(url: str, messages: int) -> None:
    log = await open_log(url, retention=Retention(messages, 2**62), synchronous="off")
    drafts = [Draft(f"room{n % 50}", None, BODY) for n in range(FILL_BATCH)]
    for _ in range(messages // FILL_BATCH):
        await log.append(drafts)
    await log.close()


async def _publisher(log: Log, number: int, publishers: int, rate: float, done: asyncio.Event) -> list[float]:
    """Publishes at its share of `rate` (0: as fast as it is answered). Returns the seconds that each publish
    took."""
    times = []
    drafts = [Draft(f"room{number}", None, BODY)]
    next_at = time.perf_counter() + (number / rate if rate else 0)
    while not done.is_set():
        if rate:
            await asyncio.sleep(next_at - time.perf_counter())
            next_at += publishers / rate
        start = time.perf_counter()
        await log.append(drafts)
        times.append(time.perf_counter() - start)
    return times


async def _wait_until_trimmed(log: Log) -> None:
    """Waits until nothing is left to trim."""
    while True:
        bounds = await log.bounds()
        if bounds.newest - bounds.trimmed <= CAP + 200:
            return
        await asyncio.sleep(0.1)


async def _follow(log: Log, after: int) -> None:
    async for _ in log.consumer("test", after):
        pass


async def _measure(url: str, options: argparse.Namespace, label: str, least_seconds: float) -> float:
    log = await open_log(url, retention=Retention(CAP, 2**62))
    start = await log.bounds()
    follower = asyncio.create_task(_follow(log, start.newest))
    done = asyncio.Event()
    publishers = [
        asyncio.create_task(_publisher(log, n, options.publishers, options.rate, done))
        for n in range(options.publishers)
    ]
    began = time.perf_counter()
    await asyncio.gather(_wait_until_trimmed(log), asyncio.sleep(least_seconds))
    seconds = time.perf_counter() - began
    done.set()
    times = [seconds for times in await asyncio.gather(*publishers) for seconds in times]
    trimmed = (await log.bounds()).trimmed - start.trimmed
    await log.close()
    await follower
    print(
        f"{label}: {len(times) / seconds:.0f} publishes/s, {trimmed / seconds:.0f} trimmed/s for {seconds:.1f} s"
    )
    print(f"  {_quantiles(times)}")
    return seconds


def _quantiles(times: list[float]) -> str:
    times.sort()
    named = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1}
    return ", ".join(f"{name} {times[int((len(times) - 1) * part)] * 1e3:.2f} ms" for name, part in named.items())


async def main() -> None:
    """Fills a log, and prints both measurements, with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--publishers", type=int, default=16)
    parser.add_argument("--rate", type=float, default=1_000, help="a second, of all together; 0: no pause")
    parser.add_argument("--directory", default=".", help="on the disk to be measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory:
        url = f"sqlite:{Path(directory) / 'log.db'}"
        await _fill(url, options.messages)
        await _measure(url, options, "while trimming", 0)
        await _measure(url, options, "with nothing to trim", 10)


if __name__ == "__main__":
    asyncio.run(main())
