"""Revocations, which end a person's tokens and tickets."""

from __future__ import annotations

from typing import NamedTuple

from roomcast.model.fields import check

KEPT_MS = 31 * 86_400_000
"""How long a revocation is kept: a token is valid for at most 30 days, and clocks may differ."""
MAX_REVOCATIONS = 10_000
"""Most revocations that a log keeps."""
_MAX_ISS = 1_000


class Revocation(NamedTuple):
    """Ends the tokens and tickets of `sub` that were issued before a time."""

    sub: str
    iss: str | None
    """The issuer whose tokens end, and the tickets issued for them. None: those of all issuers, and the tickets of
    keys."""
    before: int
    """Milliseconds since 1970. A credential without a time of issue counts as older."""

    @property
    def whom(self) -> tuple[str, str | None]:
        """The key of a revocation: a later one with the same key replaces it."""
        return self.sub, self.iss


def check_sub(text: str) -> str:
    """Returns a `sub` unchanged. Raises `ValueError`; its text continues a sentence that begins with "sub"."""
    if wrong := check("user", text):
        raise ValueError(wrong)
    return text


def check_iss(text: str) -> str:
    """Returns an `iss` unchanged. Raises `ValueError`; its text continues a sentence that begins with "iss"."""
    if not 0 < len(text) <= _MAX_ISS or not text.isprintable():
        raise ValueError(f"must be 1 to {_MAX_ISS} printable characters")
    return text
