"""Why a token is refused."""

from __future__ import annotations


class BadToken(Exception):
    """The check that failed: for the audit, not for the token's holder."""


class TokenExpired(BadToken):
    """It is over: its holder may know."""


class KeysAway(Exception):
    """Whether it is good cannot be said now: its key may be one that is not known yet."""
