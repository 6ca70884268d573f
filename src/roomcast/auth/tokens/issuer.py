"""An issuer of tokens: it verifies them and makes their principals."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roomcast.auth.grants import Grants
from roomcast.auth.principal import Principal, name_of, scope_of
from roomcast.auth.secrets import Secrets
from roomcast.auth.tickets import Grantor
from roomcast.auth.tokens import checks
from roomcast.auth.tokens import grants as token_grants
from roomcast.auth.tokens.bad import BadToken
from roomcast.auth.tokens.grants import RoomcastClaim
from roomcast.auth.tokens.jose import VerifyingKey, of_pem, of_secret, verifies
from roomcast.auth.tokens.jwks import Jwks
from roomcast.auth.tokens.ring import KeyRing, KeySource
from roomcast.auth.tokens.text import Parts
from roomcast.model.errors import CannotStart
from roomcast.model.regular_file import read_regular
from roomcast.model.settings.issuer import ASYMMETRIC, SYMMETRIC
from roomcast.model.settings.issuer import Issuer as Row
from roomcast.model.settings.limits import PERSON_STREAMS, PERSONAL, Quota
from roomcast.model.settings.template import Template, template

_MOST_PEM_BYTES = 64 * 1024


@dataclass(frozen=True)
class TokenIssuer:
    """One issuer, as it is configured."""

    grantor: Grantor
    """Its identity in principals and tickets."""
    source: KeySource
    algorithms: frozenset[str]
    """The algorithms that are accepted."""
    iss: str | None = None
    """The `iss` of its tokens; None accepts any `iss`, or none."""
    audience: str | None = None
    user: str = "sub"
    """The claim that gives the `user` of messages."""
    read: Sequence[Template] = ()
    publish: Sequence[Template] = ()
    claim: str | None = "roomcast"
    """The claim that names grants; None if no claim does."""
    terms: str = ""
    """A hash of the options that decide a token's rights: with other options a token may grant less."""
    quota: Quota = PERSONAL
    """The quota of each person of this issuer."""

    def signing_key(self, parts: Parts, first_sent: float, now: float) -> VerifyingKey | None:
        """The key that signed the token of these `parts`; None if the signature is wrong. No claim is read.
        `first_sent` is when the token was first sent to this process; it and `now` are seconds since 1970.

        Raises `BadToken` with the check of the header that failed, and `KeysUnavailable` if a fetch may bring the
        key."""
        algorithm, kid = checks.algorithm_of(parts.header), checks.kid_of(parts.header)
        if algorithm not in self.algorithms:
            raise BadToken(f"the algorithm {algorithm!r:.40} is not accepted")
        candidates = self.source.candidates(algorithm, kid, first_sent, now)
        key = next((key for key in candidates if verifies(key, algorithm, parts.signed, parts.signature)), None)
        if key is None:
            self.source.check_newer(kid, first_sent, now)
        return key

    def still_accepts(self, signer: str) -> bool:
        """Whether a token that was verified earlier is still valid with the same rights; `signer` is that of its
        principal."""
        id, _, terms = signer.partition(" ")
        return terms == self.terms and self.source.has(id)

    def principal(self, claims: Mapping[str, Any], now: float, key: VerifyingKey) -> Principal:
        """The principal of `claims`, which `key` signed; `now` is seconds since 1970. Raises `BadToken` with the
        check of the claims that failed, and `TokenExpired`."""
        checks.check_audience(claims, self.audience)
        until, sub = checks.until_of(claims, now), checks.sub_of(claims)
        claim = self._roomcast_claim(claims)
        read = [*token_grants.from_templates(self.read, claims, sub), *claim.read]
        publish = [*token_grants.from_templates(self.publish, claims, sub), *claim.publish]
        token_grants.check_count(read, publish)
        return Principal(
            kind="token",
            name=name_of(self.grantor, sub),
            user=claim.user or checks.name_of(claims.get(self.user), f"the claim {self.user} for the user"),
            read=Grants.parse(read),
            publish=Grants.parse(publish),
            until=until,
            scope=scope_of(self.grantor, sub),
            grantor=self.grantor,
            sub=sub,
            issued=checks.issued_of(claims),
            quota=self.quota,
            signer=f"{key.id} {self.terms}",
        )

    def _roomcast_claim(self, claims: Mapping[str, Any]) -> RoomcastClaim:
        if self.claim is None or self.claim not in claims:
            return RoomcastClaim()
        return token_grants.parse_claim(claims[self.claim])


def of_row(row: Row) -> TokenIssuer:
    """The issuer that `row` of the configuration describes. Blocks: it reads files. Raises `CannotStart` if a file
    cannot be used."""
    return TokenIssuer(
        grantor=Grantor(row.iss or ""),
        source=_source(row),
        iss=row.iss,
        audience=row.audience,
        algorithms=frozenset(row.algorithms or (SYMMETRIC if row.secret_files else ASYMMETRIC)),
        user=row.user,
        read=[template(text) for text in row.read],
        publish=[template(text) for text in row.publish],
        claim=row.claim if row.takes_claims else None,
        terms=_terms(row),
        quota=row.quota(PERSON_STREAMS),
    )


def _terms(row: Row) -> str:
    verified = (row.jwks, row.audience, row.algorithms)
    given = (row.user, row.read, row.publish, row.takes_claims, row.claim)
    return hashlib.sha256(repr([verified, given]).encode()).hexdigest()[:16]


def of_secrets(secrets: Secrets) -> TokenIssuer:
    """The issuer of tokens that are signed with one of `secrets`, the server's own."""
    return TokenIssuer(Grantor(""), _ring(secrets), frozenset(SYMMETRIC))


def _source(row: Row) -> KeySource:
    if row.jwks:
        return Jwks(row.jwks)
    if row.secret_files:
        return _ring(Secrets.read(row.secret_files))
    return KeyRing([_public_key(row, path) for path in row.public_keys])


def _ring(secrets: Secrets) -> KeyRing:
    return KeyRing([of_secret(secret.text) for secret in secrets])


def _public_key(row: Row, path: str) -> VerifyingKey:
    try:
        key = of_pem(read_regular(path, f"the public key's file {path}", _MOST_PEM_BYTES))
    except ValueError as error:
        raise CannotStart(f"the public key in {path} {error}") from None
    if row.algorithms and key.algorithms.isdisjoint(row.algorithms):
        raise CannotStart(
            f"the public key in {path} is for {', '.join(sorted(key.algorithms))}: name one of these in algorithms"
        )
    return key
