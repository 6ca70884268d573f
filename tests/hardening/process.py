"""The kernel's figures for a process, and for the memory of all connections."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """The resident memory of a process, in bytes."""
    return _status(pid, "VmRSS") * 1024


def threads(pid: int) -> int:
    return _status(pid, "Threads")


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a process in user mode and in the kernel, with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def waited_seconds(pid: int) -> float:
    """Seconds for which threads of a process could have run, but no processor was free: the second field of
    schedstat (proc(5)). 0 on a kernel that does not count it."""
    waited = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):  # the thread has ended
            waited += int((thread / "schedstat").read_text().split()[1])
    return waited / 1e9


def tcp_bytes() -> int:
    """Bytes that the kernel uses for all TCP connections of this machine."""
    found = re.search(r"^TCP:.* mem (\d+)$", Path("/proc/net/sockstat").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * os.sysconf("SC_PAGE_SIZE")


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])
