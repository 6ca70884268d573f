"""Tokens and tickets that were revoked."""

from __future__ import annotations

from collections.abc import Iterable

from roomcast.auth.principal import Principal
from roomcast.model.revocation import Revocation


class Revocations:
    """The revocations of the configuration and of the log, by subject."""

    def __init__(self, rows: Iterable[Revocation] = ()) -> None:
        self._by_sub: dict[str, list[Revocation]] = {}
        for row in rows:
            self._by_sub.setdefault(row.sub, []).append(row)

    def __len__(self) -> int:
        """The number of subjects with a revocation."""
        return len(self._by_sub)

    def cover(self, principal: Principal) -> bool:
        """Whether the credential of `principal` is revoked. A key, or a ticket without a `sub`, never is: only a
        change of the configuration ends these early."""
        if principal.sub is None or not self._by_sub:
            return False
        return any(_covers(row, principal) for row in self._by_sub.get(principal.sub, ()))


def _covers(row: Revocation, principal: Principal) -> bool:
    grantor = principal.grantor
    # A key may have the name of an issuer, and is not that issuer.
    issuer = grantor.name if grantor is not None and not grantor.digest else None
    if row.iss is not None and row.iss != issuer:
        return False
    return principal.issued is None or principal.issued * 1000 < row.before
