"""Sizes, times and rates as people write them: `5MB`, `64KiB`, `1h30m`, `500ms`, `20/s`. Plain numbers are bytes,
seconds, and times per second."""

from __future__ import annotations

import re

A_SIZE = "a size in bytes, such as 5000000, 5MB or 64KiB"
A_TIME = "a time in seconds, such as 15, 500ms, 10m, 1h30m or 7d"
A_RATE = "a rate, such as 20 or 20/s, 100/m or 1000/h"

_BYTES: dict[str, int] = {"": 1, "B": 1} | {
    f"{letter}{binary}B": (1024 if binary else 1000) ** power
    for power, letter in enumerate("KMGT", 1)
    for binary in ("", "I")
}
"""Bytes of each unit, in capitals. KB is 1,000 and KiB is 1,024, whether written in capitals or not."""
_MILLISECONDS = (86_400_000, 3_600_000, 60_000, 1_000, 1)
"""Milliseconds of each unit of a time, in the order in which the units are written."""

_NUMBER = r"[0-9]{1,18}(?:\.[0-9]{1,9})?"
_SIZE = re.compile(rf"({_NUMBER}) ?([A-Za-z]*)")
_PLAIN = re.compile(_NUMBER)
_RATE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,20})?(?:e-[0-9]{1,3})?)(?:/([smhd]))?")
"""A number of the file may become text before it is read (`anonymous`), so Python's form of any float is a rate:
`0.0016666666666666668`, `1e-05`."""
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_TIME = re.compile("".join(rf"(?:({_NUMBER}){unit})?" for unit in ("d", "h", "m", "s", "ms")))


def parse_size(text: str) -> int:
    """Returns bytes. Raises `ValueError`; its text continues a sentence that begins with the option."""
    found = _SIZE.fullmatch(text)
    if not found or (unit := _BYTES.get(found[2].upper())) is None:
        raise ValueError(f"must be {A_SIZE}, not {text!r:.100}{_meant_size(found)}")
    whole, _, part = found[1].partition(".")
    scale: int = 10 ** len(part)
    size, rest = divmod(int(whole + part) * unit, scale)
    if rest:
        raise ValueError(f"must be {A_SIZE}, not {text!r}, which is no whole number of bytes")
    return size


def parse_seconds(text: str) -> float:
    """Returns seconds. Raises `ValueError`; its text continues a sentence that begins with the option."""
    if _PLAIN.fullmatch(text):
        return float(text)
    milliseconds = _milliseconds(text)
    if milliseconds is None:
        plain = text.replace(" ", "").lower()
        hint = f": did you mean {plain}?" if _milliseconds(plain) is not None else ""
        raise ValueError(f"must be {A_TIME}, not {text!r:.100}{hint}")
    return milliseconds / 1000


def parse_rate(text: str) -> float:
    """Returns times per second. Raises `ValueError`; its text continues a sentence that begins with the option."""
    found = _RATE.fullmatch(text)
    if not found:
        raise ValueError(f"must be {A_RATE}, not {text!r:.100}")
    return float(found[1]) / _SECONDS[found[2] or "s"]


def _milliseconds(text: str) -> float | None:
    found = _TIME.fullmatch(text)
    if not text or not found:
        return None
    return sum(float(part or 0) * unit for part, unit in zip(found.groups(), _MILLISECONDS, strict=True))


def _meant_size(found: re.Match[str] | None) -> str:
    """Suggests both units for a bare `k`, which is 1,000 in some programs and 1,024 in others (nginx, systemd)."""
    number, letters = (found[1], found[2].upper()) if found else ("", "")
    if letters in ("K", "M", "G", "T"):
        return f": did you mean {number}{letters}B or {number}{letters}iB?"
    return f": did you mean {number}{letters[0]}iB?" if letters in ("KI", "MI", "GI", "TI") else ""
