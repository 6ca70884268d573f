"""The reasons for refusing a token."""

from __future__ import annotations


class BadToken(Exception):
    """The token is refused. Its text names the check that failed, for the audit log and not for the holder."""


class TokenExpired(BadToken):
    """The token has expired; its holder is told so."""


class KeysUnavailable(Exception):
    """The token cannot be verified now: its issuer's keys were not fetched since the token was first sent."""
