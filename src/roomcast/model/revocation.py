"""That somebody's tokens and tickets count no more."""

from __future__ import annotations

from typing import NamedTuple

from roomcast.model.fields import check

KEPT_MS = 31 * 86_400_000
"""How long one is kept: a token lives for 30 days at most, and clocks may lie apart."""
MOST = 10_000
"""How many a log keeps."""
_MAX_ISS = 1_000


class Revocation(NamedTuple):
    """Ends what `sub` was given before a moment."""

    sub: str
    iss: str | None
    """The issuer whose tokens end; None: those of all, and the tickets of keys as well."""
    before: int
    """Milliseconds since 1970. A credential that does not say when it was issued was issued before."""

    @property
    def whom(self) -> tuple[str, str | None]:
        """Of two for the same, the later one says all."""
        return self.sub, self.iss


def check_sub(text: str) -> str:
    """A `sub`, unchanged. Raises `ValueError` with the end of a sentence that begins with "sub"."""
    if wrong := check("user", text):
        raise ValueError(wrong)
    return text


def check_iss(text: str) -> str:
    """An `iss`, unchanged. Raises `ValueError` with the end of a sentence that begins with "iss"."""
    if not 0 < len(text) <= _MAX_ISS or not text.isprintable():
        raise ValueError(f"must be 1 to {_MAX_ISS} printable characters")
    return text
