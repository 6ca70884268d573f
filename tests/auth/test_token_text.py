"""Any text sent as a token is accepted or refused, and never raises another error."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.auth.keys import Keys
from roomcast.auth.tokens.bad import BadToken
from roomcast.auth.tokens.issuer import of_secrets
from roomcast.auth.tokens.issuers import Issuers
from roomcast.auth.verifier import Verifier
from roomcast.model.errors import InvalidToken
from tests.auth.signing import coded, token
from tests.auth.test_token_attacks import NOW, OWN, SECRET, SECRETS

VERIFIER = Verifier(Keys(), SECRETS, Issuers([], of_secrets(SECRETS)))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(["sub", "exp", "iat", "nbf", "iss", "aud", "roomcast", "user", "kid", "alg", "crit"])


@pytest.mark.parametrize("text", ["", "a.b", "a.b.c.d"])
def test_a_text_without_three_parts_is_no_token(text: str) -> None:
    with pytest.raises(BadToken, match="does not have three parts"):
        Issuers([], of_secrets(SECRETS)).verify(text, NOW)


def ask(text: str) -> None:
    try:
        holder = VERIFIER.verify(text, NOW)
    except InvalidToken:
        return
    json.dumps([holder.name, holder.user, holder.read.texts()], ensure_ascii=False).encode()


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_claims_that_are_signed_well(claims: dict[str, Any]) -> None:
    ask(token({**OWN, **claims}, key=SECRET))


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_any_header(header: dict[str, Any]) -> None:
    ask(token(OWN, key=SECRET, header={"alg": "HS256", **header}))


@given(st.dictionaries(st.sampled_from(["read", "publish", "user"]), VALUES, max_size=3))
def test_any_claim_for_roomcast(claim: dict[str, Any]) -> None:
    ask(token({**OWN, "roomcast": claim}, key=SECRET))


@given(st.binary(max_size=64), st.binary(max_size=64), st.binary(max_size=64))
def test_any_bytes_in_three_parts(header: bytes, claims: bytes, signature: bytes) -> None:
    ask(".".join(map(coded, (header, claims, signature))))


@given(st.text(max_size=64))
def test_any_text(text: str) -> None:
    ask(text)
