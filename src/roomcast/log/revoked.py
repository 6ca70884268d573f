"""The revocations of a log, in memory. All backends hold them here: they are few, and are polled every second."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roomcast.log.clock import now_ms
from roomcast.model.errors import TooManyRevocations
from roomcast.model.revocation import KEPT_MS, MAX_REVOCATIONS, Revocation


class KeptRevocations:
    """The latest revocation for each `sub` and `iss`."""

    def __init__(self, rows: Iterable[Revocation] = ()) -> None:
        self._by_whom = {row.whom: row for row in rows}
        self.rows: Sequence[Revocation] = tuple(self._by_whom.values())
        """A new object after each change."""

    def check(self, revocation: Revocation) -> None:
        """Raises `TooManyRevocations` if `revocation` cannot be kept. No other one is dropped for it: that would
        let a revoked user in again."""
        oldest = oldest_kept()
        kept = sum(row.before >= oldest for row in self.rows)
        if kept >= MAX_REVOCATIONS and revocation.whom not in self._by_whom:
            raise TooManyRevocations(
                f"the log keeps {MAX_REVOCATIONS}, each for {KEPT_MS // 86_400_000} days: replace the secret, or "
                "the issuer's key; that ends everything it has signed"
            )

    def add(self, revocation: Revocation) -> None:
        """Adds `revocation`, unless a later one for the same user is kept. Drops all that are older than any valid
        credential."""
        oldest = oldest_kept()
        kept = {whom: row for whom, row in self._by_whom.items() if row.before >= oldest}
        earlier = kept.get(revocation.whom, revocation)
        kept[revocation.whom] = max(revocation, earlier, key=lambda row: row.before)
        self._by_whom, self.rows = kept, tuple(kept.values())


def oldest_kept() -> int:
    """The time in ms since 1970 before which a revocation is useless: all credentials that it ends have
    expired."""
    return now_ms() - KEPT_MS
