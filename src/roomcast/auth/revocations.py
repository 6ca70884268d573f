"""Whose tokens and tickets count no more."""

from __future__ import annotations

from collections.abc import Iterable

from roomcast.auth.principal import Principal
from roomcast.model.revocation import Revocation


class Revocations:
    """Those of the configuration, and those that the log keeps."""

    def __init__(self, rows: Iterable[Revocation] = ()) -> None:
        self._by_sub: dict[str, list[Revocation]] = {}
        for row in rows:
            self._by_sub.setdefault(row.sub, []).append(row)

    def __len__(self) -> int:
        """How many people have any."""
        return len(self._by_sub)

    def end(self, principal: Principal) -> bool:
        """Whether what somebody was given is revoked. A key, and a ticket that is for nobody, are not: nobody but
        the configuration can take these away."""
        if principal.sub is None or not self._by_sub:
            return False
        return any(_ends(row, principal) for row in self._by_sub.get(principal.sub, ()))


def _ends(row: Revocation, principal: Principal) -> bool:
    by = principal.by
    # A key is no issuer, whatever its name is.
    issuer = by.name if by is not None and not by.digest else None
    if row.iss is not None and row.iss != issuer:
        return False
    return principal.issued is None or principal.issued * 1000 < row.before
