"""All issuers of a configuration: they find a token's issuer and verify the token.

A token names its issuer with `iss`; only the keys of that issuer are tried.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from roomcast.auth.principal import Principal
from roomcast.auth.tickets import By
from roomcast.auth.tokens.bad import BadToken
from roomcast.auth.tokens.issuer import Issuer, signed_by
from roomcast.auth.tokens.jwks import Jwks
from roomcast.auth.tokens.text import Parts, parts_of
from roomcast.model.settings.limits import Quota

_BAD = 10_000
"""Tokens with a wrong signature that are remembered: a program with a bad token sends it again and again."""
_WRONG_SIGNATURE = "wrong signature"
_FOR_OTHERS = "tokens that it issues for other programs are accepted here, too. Add `audience` to the row"

logger = logging.getLogger("roomcast.server")


class Issuers:
    """All issuers, by their `iss`."""

    def __init__(self, rows: Sequence[Issuer], own: Issuer | None = None) -> None:
        """`own` is the issuer of the server's own secret. If there are `rows`, it accepts only tokens without
        `iss`."""
        self._by_iss = {issuer.iss: issuer for issuer in rows if issuer.iss is not None}
        self._any = next((issuer for issuer in rows if issuer.iss is None), None)
        """The issuer that accepts any `iss`, if there is one; it is then the only issuer."""
        self._without = own if rows else None
        if not rows:
            self._any = own
        self._all = [*rows, *([own] if own else [])]
        self._by = {issuer.by: issuer for issuer in self._all}
        self._bad: OrderedDict[int, None] = OrderedDict()
        """Hashes of those whose signature is wrong."""

    def __iter__(self) -> Iterator[Issuer]:
        return iter(self._all)

    def holder(self, text: str, now: float) -> Principal:
        """The principal of a token; `now` is seconds since 1970. Raises `BadToken` with the check that failed, and
        `KeysAway`."""
        hashed = hash(text)
        if hashed in self._bad:
            raise BadToken(_WRONG_SIGNATURE)
        parts = parts_of(text)
        issuer = self._issuer(parts)
        key = signed_by(issuer.check(parts, now), parts)
        if key is None:
            issuer.check_newer(parts, now)
            self._remember(hashed)
            raise BadToken(_WRONG_SIGNATURE)
        return issuer.principal(parts.claims, now, key)

    def answers(self, by: By) -> bool:
        """Whether this issuer is configured."""
        return by in self._by

    def quota(self, by: By) -> Quota:
        """The quota of each person of this issuer. Raises `KeyError` if it is not configured."""
        return self._by[by].quota

    def stand(self, by: By, signed: str) -> bool:
        """Whether a token that earlier issuers verified is valid by these, too, with the same rights."""
        issuer = self._by.get(by)
        return issuer is not None and issuer.stand(signed)

    def open(self, changed: Callable[[], None], before: Issuers | None = None) -> None:
        """Takes over the fetched keys of `before`, and starts fetching all keys. `changed` is called whenever keys
        have changed."""
        known = {(issuer.iss, source.url): source for issuer, source in (before._sources() if before else ())}
        for issuer, source in self._sources():
            if older := known.get((issuer.iss, source.url)):
                source.take_over(older)
            if issuer.audience is None:
                logger.warning("[[issuer]] %s has no audience: %s", issuer.by.name or source.url, _FOR_OTHERS)
            source.changed = partial(self._forget, changed)
            source.prefetch()

    def away(self) -> Mapping[str, bool]:
        """For each issuer whose keys are fetched, by its `iss` or the URL of its keys: whether the last fetch
        failed."""
        return {issuer.iss or source.url: source.failed for issuer, source in self._sources()}

    async def fetched(self) -> None:
        """Waits until no fetch is under way."""
        await asyncio.gather(*(source.fetched() for _, source in self._sources()))

    def close(self) -> None:
        """Cancels all fetches."""
        for _, source in self._sources():
            source.close()

    def _forget(self, changed: Callable[[], None]) -> None:
        self._bad.clear()
        changed()

    def _sources(self) -> list[tuple[Issuer, Jwks]]:
        return [(issuer, issuer.source) for issuer in self._all if isinstance(issuer.source, Jwks)]

    def _issuer(self, parts: Parts) -> Issuer:
        iss = parts.claims.get("iss")
        if "iss" in parts.claims and not isinstance(iss, str):
            raise BadToken("iss is not a string")
        found = self._by_iss.get(iss) or self._any if iss is not None else self._without or self._any
        if found is None:
            raise BadToken("iss is missing" if iss is None else f"iss names an unknown issuer: {iss!r:.80}")
        return found

    def _remember(self, hashed: int) -> None:
        self._bad[hashed] = None
        if len(self._bad) > _BAD:
            self._bad.popitem(last=False)
