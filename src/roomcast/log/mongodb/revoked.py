"""The revocations, in the small collection beside the messages.

Each revocation is a document of its own. One more document has a version that changes with each revocation. Only
this one is read every second.
"""

from __future__ import annotations

from collections.abc import Sequence

from bson import Int64, ObjectId

from roomcast.log.mongodb.opening import Store
from roomcast.log.revoked import KeptRevocations, oldest_kept
from roomcast.model.revocation import Revocation

_ALL = {"sub": {"$exists": True}}
_VERSION = "revocations"


class MongoRevocations:
    """The revocations of all processes on one log."""

    def __init__(self, store: Store) -> None:
        self._metadata = store.metadata
        self._version: object = None
        self._known = KeptRevocations()

    async def add(self, revocation: Revocation) -> None:
        """Keeps `revocation`. Raises `TooManyRevocations`, and `PyMongoError` if the database is away."""
        await self.rows()
        self._known.check(revocation)
        sub, iss, before = revocation
        await self._metadata.delete_many(_ALL | {"before": {"$lt": Int64(oldest_kept())}})
        whom = {"sub": sub} if iss is None else {"sub": sub, "iss": iss}
        new = {"$max": {"before": Int64(before)}, "$setOnInsert": whom}
        await self._metadata.update_one({"_id": f"revoked {iss or ''}\n{sub}"}, new, upsert=True)
        # The version is written last: a process that reads between the two writes reads again.
        await self._metadata.update_one({"_id": _VERSION}, {"$set": {"version": ObjectId()}}, upsert=True)

    async def rows(self) -> Sequence[Revocation]:
        """The present revocations; the same object as long as nothing has changed. Raises `PyMongoError`."""
        latest = await self._metadata.find_one({"_id": _VERSION})
        version = latest and latest["version"]
        if version != self._version:
            found = self._metadata.find(_ALL)
            rows = [Revocation(row["sub"], row.get("iss"), int(row["before"])) async for row in found]
            # Set only now, so that a failed read is repeated.
            self._known, self._version = KeptRevocations(rows), version
        return self._known.rows
