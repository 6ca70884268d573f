"""Times as people and programs write them (RFC 3339)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_HOUR = r"(?:[01]\d|2[0-3])"  # Python 3.14 also takes 24:00; RFC 3339 and older Pythons do not
_TIME = re.compile(
    rf"\d{{4}}-\d\d-\d\d[Tt ]{_HOUR}:\d\d:(?:[0-5]\d|60)(?:\.\d+)?(?:[Zz]|[+-]{_HOUR}:[0-5]\d)", re.ASCII
)
_BEYOND_MICROSECONDS = re.compile(r"\.\d{6}\d*[1-9]", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_time(text: str) -> bool:
    """Whether `text` has the form of a time; the day need not exist."""
    return _TIME.fullmatch(text) is not None


def parse_time(text: str) -> int:
    """Returns the time in `text` as milliseconds since 1970, rounded up: a message before this time is then also
    before the result. Raises `ValueError`."""
    if not is_time(text):
        raise ValueError(f"must be an RFC 3339 time such as 2026-11-22T06:27:00Z, not {text!r:.100}")
    leap = text[17:19] == "60"
    moment = datetime.fromisoformat((text[:17] + "59" + text[19:] if leap else text).upper())
    # timestamp() is not used: as a float, .123 often becomes 122.9999 ms.
    time = -((_EPOCH - moment) // timedelta(milliseconds=1)) + (1000 if leap else 0)
    # fromisoformat() drops all digits after the sixth. They count only where the result was not rounded up anyway.
    if moment.microsecond % 1000 == 0 and _BEYOND_MICROSECONDS.search(text):
        time += 1
    return max(0, time)
