"""Keys: what a program sends to say which of the configuration's principals it is.

A key is 256 random bits, so its SHA-256 tells nothing of it: no salt and no slow hash, as passwords need them.
The configuration holds only the hash, and so does everything here.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Final

from roomcast.auth.grants import Grants
from roomcast.auth.principal import Principal, scope_of
from roomcast.auth.tickets import By
from roomcast.model.settings.key import Key, check_name
from roomcast.model.settings.limits import PERSON_STREAMS, Quota

PREFIX: Final = "rck_"
"""For scanners that look for secrets where they should not be."""
_RANDOM_BYTES = 32
_DIGEST_LENGTH = 32
"""Hex digits of a hash that tickets carry: 128 bits tell two keys of one name apart."""


def new_key(name: str) -> str:
    """A key that nobody has had before. Raises `ValueError`, with the end of a sentence that begins with "name",
    where the name is none."""
    check_name(name)
    secret = base64.urlsafe_b64encode(os.urandom(_RANDOM_BYTES)).decode().rstrip("=")
    return f"{PREFIX}{name}_{secret}"


def sha256(key: str) -> str:
    """The hash that the configuration holds, in lower-case hex. It is that of the whole text."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class Keys:
    """The keys of a configuration, by their hashes."""

    def __init__(self, rows: Sequence[Key] = ()) -> None:
        self._principals = {row.sha256: _principal(row) for row in rows}
        self._by = {principal.by: principal for principal in self._principals.values()}
        self._quotas = {answers_for(row): row.quota(PERSON_STREAMS) for row in rows}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._principals)

    def __iter__(self) -> Iterator[Principal]:
        """Their holders, in the order of the configuration."""
        return iter(self._principals.values())

    def holder(self, sha256: str) -> Principal | None:
        """Whose key has this hash."""
        return self._principals.get(sha256)

    def quota(self, by: By) -> Quota:
        """What each of those may have to whom this key gives tickets."""
        return self._quotas[by]

    def named(self, by: By | None) -> Principal | None:
        """Whose key this is; None where it is not configured."""
        return self._by.get(by)

    def answers(self, by: By) -> bool:
        """Whether the key that is named, and not only another of the same name, is configured."""
        return by in self._by


def answers_for(row: Key) -> By:
    """How tickets name this key."""
    return By(row.name, row.sha256[:_DIGEST_LENGTH])


def _principal(row: Key) -> Principal:
    by = answers_for(row)
    return Principal(
        kind="key",
        name=row.name,
        user=row.user,
        read=Grants.parse(row.read),
        publish=Grants.parse(row.publish),
        metrics=row.metrics,
        admin=row.admin,
        quota=row.quota(0),
        scope=scope_of(by),
        by=by,
    )
