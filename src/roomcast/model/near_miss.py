"""Finds the known name that was probably meant, for hints about fields, parameters and options."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

MAX_NAME = 64
"""Characters of a name that are compared and quoted. difflib takes time in the square of a name's length."""


def near_miss(name: str, known: Sequence[str], cutoff: float = 0.8) -> str | None:
    """Returns the name in `known` that `name` was probably meant to be; None if there is none.

    `cutoff` is difflib's: 1 accepts names that differ only in case and punctuation, 0 accepts any.
    """
    plain = "".join(c for c in name[:MAX_NAME].lower() if c.isalnum())
    folded = {k.replace("_", ""): k for k in known}
    longest = max(map(len, folded), default=0)
    if 2 * longest < cutoff * (len(plain) + longest):  # difflib would find none either, but takes 0.1 ms
        return None
    found = difflib.get_close_matches(plain, folded, 1, cutoff)
    return folded[found[0]] if found else None
