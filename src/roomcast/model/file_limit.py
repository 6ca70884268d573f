"""How many files this process may have open: each connection is one."""

from __future__ import annotations

_MOST_FILES = 1024 * 1024
"""A limit of files is searched for below this number. Linux allows no more unless `fs.nr_open` says so."""


def file_limit() -> int:
    """How many files this process may have open."""
    import resource  # imported late: without it, as on Windows, a client can still be imported

    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return files if files >= 0 else 10**7  # -1 is no limit


def raise_file_limit() -> int:
    """Lets this process open as many files as it may, and returns their number.

    On macOS a process usually has no hard limit, but may not make that its soft one (setrlimit(2), COMPATIBILITY);
    the true limit is the kernel's. Then the highest accepted limit is searched for."""
    import resource  # imported late, as in `file_limit`

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not _allows(hard, hard):
        allowed, refused = soft, _MOST_FILES
        while refused - allowed > 1:
            tried = (allowed + refused) // 2
            allowed, refused = (tried, refused) if _allows(tried, hard) else (allowed, tried)
    return file_limit()


def _allows(soft: int, hard: int) -> bool:
    """Sets the limit of files; returns whether that is allowed."""
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    except (ValueError, OSError):  # Python raises `ValueError` for EINVAL
        return False
    return True
