"""The known name that somebody probably meant: hints for fields, parameters and options."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

MAX_NAME = 64
"""The longest name that is compared, and quoted. difflib takes time in the square of a name's length."""


def near_miss(name: str, known: Sequence[str], cutoff: float = 0.8) -> str | None:
    """The known name that `name` was probably meant to be, or None.

    `cutoff` is difflib's: 1 takes only what differs in case and in signs, 0 takes everything.
    """
    plain = "".join(c for c in name[:MAX_NAME].lower() if c.isalnum())
    folded = {k.replace("_", ""): k for k in known}
    longest = max(map(len, folded), default=0)
    if 2 * longest < cutoff * (len(plain) + longest):  # difflib finds that out, too, and takes 0.1 ms
        return None
    found = difflib.get_close_matches(plain, folded, 1, cutoff)
    return folded[found[0]] if found else None
