"""The keys of one issuer, and which of them may have signed a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from roomcast.auth.tokens.bad import BadToken
from roomcast.auth.tokens.jose import VerifyingKey

_TRIED = 16
"""Maximum number of keys tried for one token. An issuer that gives more keys the same name has made a mistake."""


class KeySource(Protocol):
    """The source of an issuer's keys."""

    def candidates(self, algorithm: str, kid: str | None, first_sent: float, now: float) -> Sequence[VerifyingKey]:
        """The keys that may have signed a token with this `algorithm` and `kid`. `first_sent` is when the token
        was first sent to this process; it and `now` are seconds since 1970. Raises `BadToken` if there are none,
        and `KeysUnavailable` if a fetch may bring one."""
        ...

    def check_newer(self, kid: str | None, first_sent: float, now: float) -> None:
        """Called if none of the candidates signed the token. Raises `KeysUnavailable` if a fetch may bring another
        key. The parameters `kid`, `first_sent` and `now` are those of `candidates`."""
        ...

    def has(self, id: str) -> bool:
        """Whether the key with this `id` is still valid, or no keys were fetched yet."""
        ...


class KeyRing:
    """Configured keys: secrets, and public keys from files. They have no `kid`, so each one is tried."""

    def __init__(self, keys: Sequence[VerifyingKey]) -> None:
        self._keys = tuple(keys)

    def has(self, id: str) -> bool:
        """Whether a configured key has this `id`."""
        return any(key.id == id for key in self._keys)

    def candidates(self, algorithm: str, kid: str | None, first_sent: float, now: float) -> Sequence[VerifyingKey]:
        """All configured keys for `algorithm`, at most 16: `kid`, `first_sent` and `now` do not matter. Raises
        `BadToken` if there are none."""
        if found := for_algorithm(self._keys, algorithm):
            return found
        raise BadToken(f"no key is for {algorithm}")

    def check_newer(self, kid: str | None, first_sent: float, now: float) -> None:
        """Does nothing, whatever `kid`, `first_sent` and `now` are: no other keys ever come."""


def for_algorithm(keys: Sequence[VerifyingKey], algorithm: str) -> Sequence[VerifyingKey]:
    """Those of `keys` that are for `algorithm`, at most 16."""
    return [key for key in keys if algorithm in key.algorithms][:_TRIED]


def with_kid(keys: Sequence[VerifyingKey], algorithm: str, kid: str | None) -> Sequence[VerifyingKey]:
    """Those of `keys` that are for `algorithm` and have this `kid`, at most 16. If `kid` is None, the only key for
    `algorithm`; empty if there are several."""
    found = [key for key in keys if algorithm in key.algorithms]
    if kid is None:
        return found if len(found) == 1 else []
    return [key for key in found if key.kid == kid][:_TRIED]
