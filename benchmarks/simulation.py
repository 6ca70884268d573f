"""Simulates `--workers` on a machine that we do not have: 16 cores, a million followers, 100,000 of them in one
room.

Each worker's loop is a single-server queue. All messages that come during a turn are the next turn, which writes
once to each follower that gets any of them. The log process is such a queue, too: all appends that come while a
group is being committed are the next group. The costs are those that were measured here, on one core each.

    python -m benchmarks.simulation"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

WRITE = 4.8e-6
"""CPU seconds of one write to one follower (`python -m benchmarks.workers`, 5,000 followers, paced)."""
FURTHER = 0.25e-6
"""CPU seconds of each further message in the same write (`1,000 followers, full speed`)."""
TURN = 44e-6
"""CPU seconds of a worker's turn that has messages."""
MESSAGE = 3.6e-6
"""CPU seconds of each message in a turn, however many followers it has: decoding, and finding its room."""
GROUP = 400e-6
"""CPU seconds of a group in the log process: the transaction, and switching between two threads."""
APPEND = 15e-6
"""CPU seconds of each publish in a group."""
SEND = 10e-6
"""CPU seconds of the log process, for each worker and group."""
SYNC = 2e-3
"""Seconds of the disk for a group; only the group waits for it."""
PUBLISH = 35e-6
"""CPU seconds of a publish in its worker: reading, checking, answering."""


@dataclass(frozen=True)
class Plan:
    """A server and its load."""

    workers: int
    followers: int
    large: int
    """Followers of one room."""
    large_rate: float
    """Messages a second to the large room."""
    small_rate: float
    """Messages a second to all other rooms together."""
    small: int = 10
    """Followers of each of the other rooms."""
    seconds: float = 20.0


@dataclass(frozen=True)
class Outcome:
    """The results."""

    turns: Sequence[float]
    """Lengths of all workers' turns, in seconds."""
    last: Sequence[float]
    """For each message to the large room, how long until its last follower was written to."""
    busy: float
    """The part of its core that the busiest worker used."""
    log_busy: float
    """The part of its core that the log process used."""


def simulate(plan: Plan, seed: int = 1) -> Outcome:
    """Simulates the `plan`, message by message. The same `seed` gives the same arrivals."""
    chance = random.Random(seed)
    stored, log_busy = _committed(plan, _arrivals(plan, chance))
    turns: list[float] = []
    done: dict[int, float] = {}
    busy = 0.0
    for _ in range(plan.workers):
        spent = _deliver(plan, stored, turns, done)
        busy = max(busy, spent / plan.seconds)
    last = [done[number] - came for number, (came, _, is_large) in enumerate(stored) if is_large]
    return Outcome(turns, last, busy, log_busy)


def _arrivals(plan: Plan, chance: random.Random) -> list[tuple[float, bool]]:
    """When messages are published, and whether to the large room."""
    streams = [(rate, is_large) for rate, is_large in ((plan.large_rate, True), (plan.small_rate, False)) if rate]
    found = []
    for rate, is_large in streams:
        now = chance.expovariate(rate)
        while now < plan.seconds:
            found.append((now, is_large))
            now += chance.expovariate(rate)
    return sorted(found)


Stored = list[tuple[float, float, bool]]
"""For each message: when it was published, when it was sent to the workers, and whether it is for the large
room."""


def _committed(plan: Plan, arrivals: Sequence[tuple[float, bool]]) -> tuple[Stored, float]:
    stored: Stored = []
    free = spent = 0.0
    at = 0
    while at < len(arrivals):
        begin = max(free, arrivals[at][0])
        end = bisect_right(arrivals, (begin, True), at)
        cost = GROUP + (end - at) * APPEND + plan.workers * SEND
        free = begin + cost + SYNC
        spent += cost
        stored += [(came, free, is_large) for came, is_large in arrivals[at:end]]
        at = end
    return stored, spent / plan.seconds


def _deliver(plan: Plan, stored: Stored, turns: list[float], done: dict[int, float]) -> float:
    """One worker's turns; the time that it was busy."""
    large = plan.large // plan.workers
    share = plan.small / plan.workers
    free = spent = 0.0
    at = 0
    while at < len(stored):
        begin = max(free, stored[at][1])
        end = at
        while end < len(stored) and stored[end][1] <= begin:
            end += 1
        to_large = sum(1 for one in stored[at:end] if one[2])
        to_small = end - at - to_large
        writes = (large if to_large else 0) + to_small * share
        length = TURN + writes * WRITE + (end - at) * (MESSAGE + PUBLISH / plan.workers)
        length += max(0, to_large - 1) * large * FURTHER
        free = begin + length
        spent += length
        turns.append(length)
        for number in range(at, end):
            done[number] = max(done.get(number, 0.0), free)
        at = end
    return spent


def max_small_rate(plan: Plan) -> float:
    """Returns the messages a second to small rooms at which the log process or a worker of `plan` saturates its
    core."""
    each = MESSAGE + (plan.small * WRITE + PUBLISH) / plan.workers
    return min(1 / APPEND, 1 / each)


def quantiles(values: Sequence[float], *parts: float) -> list[float]:
    """Returns the quantiles of `values` (seconds) at each of `parts`, from 0 to 1, in milliseconds."""
    ordered = sorted(values)
    return [1000 * ordered[max(0, round(len(ordered) * part) - 1)] for part in parts]


PLANS = ((1, 1, 0), (15, 1, 0), (15, 1, 2_000), (15, 10, 2_000), (15, 10, 8_000), (15, 25, 2_000))
"""The number of workers, messages a second to the large room, and to all others."""


def main() -> None:
    """Prints a table."""
    heads = ("workers", "msgs/s large", "msgs/s others", "turn p50, p99, max ms", "to the last p50, p99 ms")
    print(" | ".join([*heads, "busiest worker", "log process"]))
    for workers, rate, others in PLANS:
        plan = Plan(workers, 1_000_000, 100_000, rate, others)
        outcome = simulate(plan)
        turns, last = quantiles(outcome.turns, 0.5, 0.99, 1), quantiles(outcome.last, 0.5, 0.99)
        shown = [", ".join(f"{value:.1f}" for value in values) for values in (turns, last)]
        print(
            f"{workers} | {rate} | {others:,} | {' | '.join(shown)} | {outcome.busy:.0%} | {outcome.log_busy:.0%}"
        )
    print(f"small rooms alone: {max_small_rate(Plan(15, 1_000_000, 0, 0, 0)):,.0f} messages a second at most")


if __name__ == "__main__":
    main()
