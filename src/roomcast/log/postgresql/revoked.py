"""The revocations. Each server polls them every second, so it reads them only when their version has changed."""

from __future__ import annotations

from collections.abc import Sequence

from roomcast.log.postgresql.connection import Session
from roomcast.log.revoked import KeptRevocations, oldest_kept
from roomcast.model.revocation import Revocation


class PostgresRevocations:
    """The revocations of all servers on one log. Every method raises what the driver raises."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._version = 0
        self._known = KeptRevocations()

    async def add(self, revocation: Revocation) -> None:
        """Keeps `revocation`. Also raises `TooManyRevocations`."""
        await self.rows()
        self._known.check(revocation)
        sub, iss, before = revocation
        async with self._session.transaction() as call:
            await call("forget_revoked", oldest_kept())
            await call("revoke", sub, iss or "", before)
            await call("count_revoked")

    async def rows(self) -> Sequence[Revocation]:
        """The present revocations; the same object as long as nothing has changed."""
        found = await self._session.rows("load_revoked", self._version)
        version = found[0]["version"]
        if version != self._version:
            rows = [row for row in found if row["sub"] is not None]
            self._known = KeptRevocations(
                Revocation(row["sub"], row["iss"] or None, row["before"]) for row in rows
            )
            self._version = version
        return self._known.rows
