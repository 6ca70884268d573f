"""Keys: a program sends one to identify itself as one of the configuration's principals.

A key is 256 random bits, so its SHA-256 reveals nothing. The salt and the slow hash that passwords need are not
necessary. The configuration and this module hold only the hash.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from typing import Final

from roomcast.auth import base64url
from roomcast.auth.grants import Grants
from roomcast.auth.principal import Principal, scope_of
from roomcast.auth.tickets import Grantor
from roomcast.model.settings.key import Key, check_name
from roomcast.model.settings.limits import PERSON_STREAMS, Quota

PREFIX: Final = "rck_"
"""Lets scanners recognize leaked keys."""
_RANDOM_BYTES = 32
_DIGEST_LENGTH = 32
"""Hex digits of the key's hash that a ticket carries: 128 bits tell two keys of one name apart."""


def new_key(name: str) -> str:
    """A new random key, which shows `name`. Raises `ValueError` if the name is not allowed; the text of the error
    continues a sentence that begins with "name"."""
    check_name(name)
    return f"{PREFIX}{name}_{base64url.encode(os.urandom(_RANDOM_BYTES))}"


def sha256(key: str) -> str:
    """The hash of the whole `key`, prefix included, in lower-case hex, as the configuration holds it."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


class Keys:
    """The keys of a configuration, by their hashes."""

    def __init__(self, rows: Sequence[Key] = ()) -> None:
        self._principals = {row.sha256: _principal(row) for row in rows}
        self._by_grantor = {principal.grantor: principal for principal in self._principals.values()}
        self._quotas = {grantor_of(row): row.quota(PERSON_STREAMS) for row in rows}

    def __bool__(self) -> bool:
        """Whether any key is configured."""
        return bool(self._principals)

    def __iter__(self) -> Iterator[Principal]:
        """The keys' principals, in the order of the configuration."""
        return iter(self._principals.values())

    def with_hash(self, sha256: str) -> Principal | None:
        """The principal of the key with the hash `sha256`, in lower-case hex; None if there is none."""
        return self._principals.get(sha256)

    def quota(self, grantor: Grantor) -> Quota:
        """The quota of each holder of a ticket that the key `grantor` issued. Raises `KeyError` if it is not
        configured."""
        return self._quotas[grantor]

    def get(self, grantor: Grantor | None) -> Principal | None:
        """The principal of the key `grantor`. None if this key is not configured: another key with the same name
        does not count. Also None if `grantor` is None."""
        return self._by_grantor.get(grantor)


def grantor_of(row: Key) -> Grantor:
    """The identity of the key in `row` as tickets carry it: its name and the first half of its hash."""
    return Grantor(row.name, row.sha256[:_DIGEST_LENGTH])


def _principal(row: Key) -> Principal:
    grantor = grantor_of(row)
    return Principal(
        kind="key",
        name=row.name,
        user=row.user,
        read=Grants.parse(row.read),
        publish=Grants.parse(row.publish),
        metrics=row.metrics,
        admin=row.admin,
        quota=row.quota(0),
        scope=scope_of(grantor),
        grantor=grantor,
    )
