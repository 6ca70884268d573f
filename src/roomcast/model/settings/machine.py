"""The limits of this machine: its processors, and the files that this process may have open."""

from __future__ import annotations

from roomcast.model.file_limit import file_limit

_OWN_FILES = 48
"""At least this many files are kept from connections, or 5 % of the limit if that is more. They are for the log,
the listeners, and connections closed in this turn of the loop, which remain files until the next."""
_OTHER_FILES = 64
"""At least this many files are kept from followers: the server itself has some 20 open, and publishers need
some."""


def cores() -> int:
    """The number of processors that this process may use. A container may have fewer than its machine."""
    import os  # imported late: a client does not need it

    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:  # control groups, version 2
            quota, period = file.read().split()
    except (OSError, ValueError):
        return found
    return found if quota == "max" else max(1, min(found, int(quota) // int(period)))


def max_followers() -> int:
    """The number of streams that leave enough files for everything else."""
    files = file_limit()
    return max(1, min(files * 9 // 10, files - _OTHER_FILES))


def max_connections() -> int:
    """The number of connections that leave enough files for the server itself."""
    files = file_limit()
    return max(8, files - max(_OWN_FILES, files // 20))
