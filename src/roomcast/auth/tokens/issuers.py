"""The issuers of a configuration: finds the one that a token names, and verifies the token.

A token names its issuer with `iss`; only the keys of that issuer are tried. A stranger can therefore learn which
issuers are configured, and nothing else: all other claims are read after the signature.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from roomcast.auth.principal import Principal
from roomcast.auth.tickets import Grantor
from roomcast.auth.tokens.bad import BadToken, KeysUnavailable
from roomcast.auth.tokens.issuer import TokenIssuer
from roomcast.auth.tokens.jwks import Jwks
from roomcast.auth.tokens.text import Parts, parts_of
from roomcast.model.settings.limits import Quota

_REMEMBERED = 10_000
"""Maximum number of remembered tokens with a wrong signature, and as many whose key may yet be fetched. A program
with a bad token sends it again and again."""
_WRONG_SIGNATURE = "wrong signature"
_FOR_OTHERS = "tokens that it issues for other programs are accepted here, too. Add `audience` to the row"

logger: logging.Logger = logging.getLogger("roomcast.server")


class Issuers:
    """All issuers, by their `iss`."""

    def __init__(self, rows: Sequence[TokenIssuer], own: TokenIssuer | None = None) -> None:
        """`own` is the issuer of the server's own secret. If there are `rows`, it accepts only tokens without
        `iss`."""
        self._by_iss = {issuer.iss: issuer for issuer in rows if issuer.iss is not None}
        self._any = next((issuer for issuer in rows if issuer.iss is None), None)
        """The issuer that accepts any `iss`, if there is one; it is then the only issuer."""
        self._without_iss = own if rows else None
        if not rows:
            self._any = own
        self._all = [*rows, *([own] if own else [])]
        self._by_grantor = {issuer.grantor: issuer for issuer in self._all}
        self._wrong: OrderedDict[int, float] = OrderedDict()
        """When each token with a wrong signature was first sent, by the token's hash."""
        self._pending: OrderedDict[int, float] = OrderedDict()
        """When each token whose key may yet be fetched was first sent, by the token's hash."""

    def __iter__(self) -> Iterator[TokenIssuer]:
        return iter(self._all)

    def verify(self, text: str, now: float) -> Principal:
        """The principal of the token `text`; `now` is seconds since 1970. Raises `BadToken` with the check that
        failed, `TokenExpired`, and `KeysUnavailable` if a fetch may bring the token's key."""
        hashed = hash(text)
        if hashed in self._wrong:
            raise BadToken(_WRONG_SIGNATURE)
        parts = parts_of(text)
        issuer = self._issuer(parts)
        first_sent = self._pending.get(hashed, now)
        try:
            key = issuer.signing_key(parts, first_sent, now)
        except KeysUnavailable:
            _remember(self._pending, hashed, first_sent)
            raise
        if key is None:
            _remember(self._wrong, hashed, first_sent)
            raise BadToken(_WRONG_SIGNATURE)
        return issuer.principal(parts.claims, now, key)

    def has(self, grantor: Grantor) -> bool:
        """Whether `grantor` is one of these issuers."""
        return grantor in self._by_grantor

    def quota(self, grantor: Grantor) -> Quota:
        """The quota of each person of the issuer `grantor`. Raises `KeyError` if it is not configured."""
        return self._by_grantor[grantor].quota

    def still_accept(self, grantor: Grantor, signer: str) -> bool:
        """Whether a token that earlier issuers verified is also valid for these, with the same rights. `grantor`
        and `signer` are those of its principal."""
        issuer = self._by_grantor.get(grantor)
        return issuer is not None and issuer.still_accepts(signer)

    def start_fetching(self, changed: Callable[[], None], earlier: Issuers | None = None) -> None:
        """Copies the fetched keys of `earlier`, and starts fetching all keys. `changed` is called whenever keys
        have changed."""
        known = {(issuer.iss, source.url): source for issuer, source in (earlier._sources() if earlier else ())}
        for issuer, source in self._sources():
            if older := known.get((issuer.iss, source.url)):
                source.copy_keys(older)
            if issuer.audience is None:
                logger.warning("[[issuer]] %s has no audience: %s", issuer.grantor.name or source.url, _FOR_OTHERS)
            source.changed = partial(self._forget, changed)
            source.refresh(time.time())

    def refresh_if_due(self) -> None:
        """Begins a fetch for each issuer whose keys are no longer fresh."""
        for _, source in self._sources():
            source.refresh_if_due(time.time())

    def failed_fetches(self) -> Mapping[str, bool]:
        """Whether the last fetch of keys failed, for each issuer whose keys are fetched; by its `iss` or the URL
        of its keys."""
        return {issuer.iss or source.url: source.failed for issuer, source in self._sources()}

    async def fetched(self) -> None:
        """Waits until no fetch is under way."""
        await asyncio.gather(*(source.fetched() for _, source in self._sources()))

    def stop_fetching(self) -> None:
        """Cancels all fetches."""
        for _, source in self._sources():
            source.stop_fetching()

    def _forget(self, changed: Callable[[], None]) -> None:
        self._wrong.clear()
        changed()

    def _sources(self) -> list[tuple[TokenIssuer, Jwks]]:
        return [(issuer, issuer.source) for issuer in self._all if isinstance(issuer.source, Jwks)]

    def _issuer(self, parts: Parts) -> TokenIssuer:
        iss = parts.claims.get("iss")
        if "iss" in parts.claims and not isinstance(iss, str):
            raise BadToken("iss is not a string")
        found = self._by_iss.get(iss) or self._any if iss is not None else self._without_iss or self._any
        if found is None:
            raise BadToken("iss is missing" if iss is None else f"iss names an unknown issuer: {iss!r:.80}")
        return found


def _remember(tokens: OrderedDict[int, float], hashed: int, first_sent: float) -> None:
    tokens[hashed] = first_sent
    if len(tokens) > _REMEMBERED:
        tokens.popitem(last=False)
