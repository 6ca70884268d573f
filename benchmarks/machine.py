"""The machine: its cores, processes, disk, and kernel memory."""

from __future__ import annotations

import itertools
import os
import platform
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
SIZE = 4 * 1024 * 1024
"""Size of the synced file: SQLite's write-ahead log grows to this before it starts over."""


def cores() -> tuple[int, int]:
    """One core for the server, one for the load. Raises `SystemExit` if the machine has only one."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise SystemExit("the benchmark needs two cores: one for the server and one for the load")
    return available[0], available[-1]


def describe() -> dict[str, object]:
    """The facts about the machine that a reader of the figures needs."""
    memory = _fields("/proc/meminfo")["MemTotal"] // 1024**2
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_gib": memory,
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", platform.system()),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def family(pid: int) -> list[int]:
    """Returns the process `pid` and all its descendants."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += [int(child) for child in children.read_text().split()]
    return found


def resident_kb(pids: Iterable[int]) -> int:
    """Returns the resident memory of the processes `pids`, in KB."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE // 1024 for pid in pids)


def kernel_kb() -> int:
    """The kernel's own memory in KB: its slabs, and the pages of TCP's buffers."""
    fields = _fields("/proc/meminfo")
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            return fields["Slab"] + int(words[words.index("mem") + 1]) * PAGE // 1024
    return fields["Slab"]


def _fields(path: str) -> dict[str, int]:
    lines = (line.split() for line in Path(path).read_text().splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines}


def busy_seconds() -> float:
    """CPU time spent so far by everything on all cores."""
    words = Path("/proc/stat").read_text().splitlines()[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, words[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


def syncs_per_second(folder: Path, seconds: float, growing: bool = False) -> float:
    """Returns how often a second the file system under `folder` makes a 4 KB page durable, one by one, with
    `fdatasync`, measured for `seconds`.

    It writes over what is there, as in SQLite's log once it has wrapped; with `growing`, at the end of a file that
    grows, whose size has to be written, too. It is the median of ten slices: a file system's own housekeeping
    stops the disk now and then."""
    path = folder / "syncs"
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(file, bytes(SIZE), 0)
        os.fsync(file)
        offsets = itertools.count(SIZE, 4096) if growing else itertools.cycle(range(0, SIZE, 4096))
        return statistics.median(_syncs(file, offsets, seconds / 10) for _ in range(10))
    finally:
        os.close(file)
        path.unlink()


def _syncs(file: int, offsets: Iterator[int], seconds: float) -> float:
    block = os.urandom(4096)
    count, began = 0, time.perf_counter()
    while (now := time.perf_counter()) < began + seconds or not count:
        os.pwrite(file, block, next(offsets))
        os.fdatasync(file)
        count += 1
    return count / (now - began)


def cpu_seconds(pids: Iterable[int]) -> float:
    """Returns the CPU time of the processes `pids` so far, their threads included."""
    total = 0
    for pid in pids:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(words[11]) + int(words[12])
    return total / TICKS


def own_cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    return sum(os.times()[:4])
