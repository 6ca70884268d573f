"""Tokens that `roomcast token` signs."""

from __future__ import annotations

from roomcast.auth.rights import ConfiguredRights
from roomcast.auth.tokens.issuer import of_secrets
from roomcast.auth.tokens.issuers import Issuers
from roomcast.auth.tokens.sign import sign
from tests.auth.test_token_attacks import NOW, OWN, SECRET, SECRETS


def test_a_signed_token_is_accepted_with_all_its_claims() -> None:
    rights = ConfiguredRights(secrets=SECRETS, issuers=Issuers([], of_secrets(SECRETS)))
    holder = rights.identify(sign(SECRET, {**OWN, "roomcast": {"read": ["a"], "user": "Zoë"}}), NOW)
    assert (holder.sub, holder.user, holder.read.texts(), holder.issued) == ("42", "Zoë", ["a"], NOW - 60)
