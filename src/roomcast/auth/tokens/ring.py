"""The keys of one issuer, and which of them a token may be signed with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from roomcast.auth.tokens.bad import BadToken
from roomcast.auth.tokens.jose import Key

_TRIED = 16
"""Keys that are tried for one token at most; more that share a name are a mistake of their issuer's."""


class Source(Protocol):
    """Where an issuer's keys come from."""

    def candidates(self, algorithm: str, kid: str | None, issued: float | None, now: float) -> Sequence[Key]:
        """Those that a token of this algorithm and `kid` may be signed with; `issued` is when it was, as far as it
        says. Raises `BadToken` where there are none, and `KeysAway` where that cannot be said now."""
        ...

    def check_newer(self, kid: str | None, issued: float | None, now: float) -> None:
        """None of the candidates has signed it. Raises `KeysAway` where another key of that name may come."""
        ...

    def has(self, id: str) -> bool:
        """Whether the key of this id is still there, as far as anybody knows."""
        ...


class Ring:
    """Keys that are given: secrets, and public keys from files. They have no names, so that each is tried."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = tuple(keys)

    def has(self, id: str) -> bool:
        return any(key.id == id for key in self._keys)

    def candidates(self, algorithm: str, kid: str | None, issued: float | None, now: float) -> Sequence[Key]:
        if found := fitting(self._keys, algorithm):
            return found
        raise BadToken(f"no key is for {algorithm}")

    def check_newer(self, kid: str | None, issued: float | None, now: float) -> None:
        """There are no others."""


def fitting(keys: Sequence[Key], algorithm: str) -> Sequence[Key]:
    """Those that are made for the algorithm."""
    return [key for key in keys if algorithm in key.algorithms][:_TRIED]


def named(keys: Sequence[Key], algorithm: str, kid: str | None) -> Sequence[Key]:
    """Those of this name, of which there may be several; for a token without one the only key that there is. Empty
    where there is none."""
    found = [key for key in keys if algorithm in key.algorithms]
    if kid is None:
        return found if len(found) == 1 else []
    return [key for key in found if key.kid == kid][:_TRIED]
