"""Attacks on libraries that verify tokens, as a table: each of them is refused, with the name of the check that
stopped it in the audit alone, and without a fetch."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from functools import cache

import pytest

from roomcast.auth.leeway import LEEWAY_SECONDS
from roomcast.auth.rights import ConfiguredRights
from roomcast.auth.secrets import Secret, Secrets
from roomcast.auth.tickets import Grantor
from roomcast.auth.tokens import jose
from roomcast.auth.tokens.fetch import Fetched
from roomcast.auth.tokens.issuer import TokenIssuer, of_secrets
from roomcast.auth.tokens.issuers import Issuers
from roomcast.auth.tokens.jose import VerifyingKey, of_jwk
from roomcast.auth.tokens.jwks import Jwks
from roomcast.model.errors import InvalidToken, RightsUnavailable
from roomcast.model.settings.issuer import ASYMMETRIC
from tests.auth.signing import coded, der, jwk, pem, signature, token

NOW = 1_795_690_180.0
A, B = "https://a.example", "https://b.example"
SECRET = b"0123456789abcdefghijklmnopqrstuvwxyz"
SECRETS = Secrets([Secret(SECRET)])
CLAIMS = {"iss": A, "aud": "roomcast", "sub": "42", "iat": NOW - 60, "exp": NOW + 900, "roomcast": {"read": ["a"]}}
OWN = {name: value for name, value in CLAIMS.items() if name not in ("iss", "aud")}
"""Of the program that has the secret."""


async def _never(url: str) -> Fetched:
    raise AssertionError(f"{url} was asked for")


def issuer(iss: str, keys: tuple[VerifyingKey, ...]) -> TokenIssuer:
    """An issuer whose keys were fetched just now."""
    source = Jwks(f"{iss}/jwks", _never)
    source._take(Fetched(keys, 3600, ()), NOW)
    source._tried_at = NOW
    return TokenIssuer(Grantor(iss), source, frozenset(ASYMMETRIC), iss=iss, audience="roomcast")


@cache
def _keys() -> Sequence[tuple[VerifyingKey, ...]]:
    """The keys of both issuers."""
    first = [
        jwk("RSA", "a", kid="1", use="sig"),
        jwk("ES256", "a", kid="es"),
        jwk("ES384", "a", kid="es384"),
        jwk("Ed25519", "a", kid="ed"),
        jwk("RSA", "a", kid="enc", use="enc"),
        jwk("RSA", "ps", kid="ps", alg="PS256"),
    ]
    second = [jwk("RSA", "b", kid="1"), jwk("ES256", "b", kid="es")]
    return [tuple(key for key in map(of_jwk, rows) if key) for rows in (first, second)]


@pytest.fixture
def rights() -> ConfiguredRights:
    """Two issuers that have keys of one name, and a secret."""
    first, second = _keys()
    both = [issuer(A, first), issuer(B, second)]
    return ConfiguredRights(secrets=SECRETS, issuers=Issuers(both, of_secrets(SECRETS)))


GOOD: dict[str, Callable[[], str]] = {
    "RS256": lambda: token(CLAIMS, "RS256", name="a", kid="1"),
    "PS256": lambda: token(CLAIMS, "PS256", name="a", kid="1"),
    "PS256, for which its key alone is": lambda: token(CLAIMS, "PS256", name="ps", kid="ps"),
    "ES256": lambda: token(CLAIMS, "ES256", name="a", kid="es"),
    "ES256, the only key that fits": lambda: token(CLAIMS, "ES256", name="a"),
    "ES384": lambda: token(CLAIMS, "ES384", name="a", kid="es384"),
    "EdDSA": lambda: token(CLAIMS, "EdDSA", name="a", kid="ed"),
    "Ed25519": lambda: token(CLAIMS, "Ed25519", name="a", kid="ed"),
    "HS256 of the secret, without iss": lambda: token(OWN, key=SECRET),
    "HS256 of the secret, whatever its aud": lambda: token(OWN | {"aud": "app"}, key=SECRET),
    "HS256 of the secret, whatever its kid": lambda: token(OWN, key=SECRET, kid="9"),
    "aud that is a list": lambda: token(CLAIMS | {"aud": ["x", "roomcast"]}, "ES256", name="a", kid="es"),
    "fields in the header that nobody knows": lambda: token(CLAIMS, "ES256", name="a", kid="es", cat="cl_B7"),
    "times with parts of seconds": lambda: token(OWN | {"exp": NOW + 0.5, "iat": NOW - 0.5}, key=SECRET),
    "a character of two halves": lambda: token(OWN | {"name": "\U0001f600"}, key=SECRET),
    "an x5c of 1 KiB": lambda: token(CLAIMS, "ES256", name="a", kid="es", x5c=["M" * 1024]),
    "within the leeway": lambda: token(OWN | {"exp": NOW - 20, "nbf": NOW + 20, "iat": NOW + 20}, key=SECRET),
}

RS = {"kid": "1"}
HOME = "https://evil.example/jwks"


def _es256(signature: bytes) -> str:
    signed = f"{coded({'alg': 'ES256', 'kid': 'es'})}.{coded(CLAIMS)}"
    return f"{signed}.{coded(signature)}"


def _with(segment: int, change: Callable[[str], str], made: str = "") -> str:
    parts = (made or token(OWN, key=SECRET)).split(".")
    parts[segment] = change(parts[segment])
    return ".".join(parts)


def _next(text: str) -> str:
    """The text with another last letter, which a lenient decoder takes for the same bytes."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return text[:-1] + letters[letters.index(text[-1]) + 1]


def _der_of_es256() -> bytes:
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    raw = signature("ES256", f"{coded({'alg': 'ES256', 'kid': 'es'})}.{coded(CLAIMS)}".encode(), "ES256", "a")
    return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))


def _own(**claims: object) -> str:
    return token(OWN | claims, key=SECRET)


def _text(claims: str) -> str:
    """Claims as JSON text, signed well."""
    return token(claims.encode(), key=SECRET)


_OWN_TEXT = json.dumps(OWN)[1:-1]

ATTACKS: dict[str, tuple[Callable[[], str], str]] = {
    # The algorithm
    "none": (lambda: f"{coded({'alg': 'none'})}.{coded(OWN)}.", "the algorithm 'none' is not accepted"),
    "None": (lambda: f"{coded({'alg': 'None'})}.{coded(OWN)}.", "'None' is not accepted"),
    "nOnE": (lambda: f"{coded({'alg': 'nOnE'})}.{coded(OWN)}.", "'nOnE' is not accepted"),
    "none of an issuer": (
        lambda: f"{coded({'alg': 'none', 'kid': '1'})}.{coded(CLAIMS)}.",
        "'none' is not accepted",
    ),
    "none with a signature": (
        lambda: _with(0, lambda _: coded({"alg": "none"})),
        "'none' is not accepted",
    ),
    "no alg": (lambda: token(OWN, key=SECRET, header={"typ": "JWT"}), "alg is not a string"),
    "alg that is a list": (lambda: token(OWN, key=SECRET, header={"alg": ["HS256"]}), "alg is not a string"),
    "hs256": (lambda: token(OWN, key=SECRET, header={"alg": "hs256"}), "'hs256' is not accepted"),
    "HS384": (lambda: token(OWN, "HS384", SECRET), "'HS384' is not accepted"),
    "HS512": (lambda: token(OWN, "HS512", SECRET), "'HS512' is not accepted"),
    "RS384": (lambda: token(CLAIMS, "RS384", name="a", **RS), "'RS384' is not accepted"),
    "ES512": (lambda: token(CLAIMS, "ES512", name="a"), "'ES512' is not accepted"),
    "RS1": (lambda: token(CLAIMS, "RS256", name="a", header={"alg": "RS1", **RS}), "'RS1' is not accepted"),
    "HS256 with the public key in PEM": (
        lambda: token(CLAIMS, "HS256", pem("RSA", "a"), **RS),
        "'HS256' is not accepted",
    ),
    "HS256 with the public key in DER": (
        lambda: token(CLAIMS, "HS256", der("RSA", "a"), **RS),
        "'HS256' is not accepted",
    ),
    "HS256 with the public key as JWK": (
        lambda: token(CLAIMS, "HS256", json.dumps(jwk("RSA", "a", kid="1", use="sig")).encode(), **RS),
        "'HS256' is not accepted",
    ),
    "HS256 with the public key, without iss": (lambda: token(OWN, "HS256", pem("RSA", "a")), "wrong signature"),
    "RS256 of the secret's program": (lambda: token(OWN, "RS256", name="a", **RS), "'RS256' is not accepted"),
    "the secret, for an issuer": (lambda: token(CLAIMS, key=SECRET), "'HS256' is not accepted"),
    "a key of another kind": (
        lambda: token(CLAIMS, "ES256", name="a", kid="1"),
        "the key '1' is not for ES256",
    ),
    "a key that is for another algorithm": (
        lambda: token(CLAIMS, "RS256", name="ps", kid="ps"),
        "the key 'ps' is not for RS256",
    ),
    # The key
    "a key in the header": (
        lambda: token(CLAIMS, "RS256", name="evil", jwk=jwk("RSA", "evil"), **RS),
        "wrong signature",
    ),
    "a key in the header, without kid": (
        lambda: token(CLAIMS, "ES256", name="evil", jwk=jwk("ES256", "evil")),
        "wrong signature",
    ),
    "a key from elsewhere": (lambda: token(CLAIMS, "RS256", name="evil", jku=HOME, **RS), "wrong signature"),
    "a certificate from elsewhere": (
        lambda: token(CLAIMS, "RS256", name="evil", x5u=HOME, **RS),
        "wrong signature",
    ),
    "a certificate in the header": (
        lambda: token(CLAIMS, "RS256", name="evil", x5c=["MIIB"], **RS),
        "wrong signature",
    ),
    "a kid that is a path": (lambda: token(CLAIMS, "RS256", name="evil", kid="../../dev/null"), "unknown kid"),
    "a kid that is SQL": (lambda: token(CLAIMS, "RS256", name="evil", kid="x' UNION SELECT 'k"), "unknown kid"),
    "a kid that is an address": (lambda: token(CLAIMS, "RS256", name="evil", kid=HOME), "unknown kid"),
    "a kid that is a number": (lambda: token(CLAIMS, "RS256", name="a", kid=1), "kid is not a string"),
    "no kid, where two keys fit": (lambda: token(CLAIMS, "PS256", name="a"), "no kid, and not exactly one"),
    "a key for encryption": (lambda: token(CLAIMS, "RS256", name="a", kid="enc"), "unknown kid"),
    "another issuer's key under the same name": (
        lambda: token(CLAIMS | {"iss": B}, "RS256", name="a", **RS),
        "wrong signature",
    ),
    "an issuer that is none": (
        lambda: token(CLAIMS | {"iss": "https://c"}, "RS256", name="a", **RS),
        "iss",
    ),
    "an issuer in part": (
        lambda: token(CLAIMS | {"iss": f"{A}/"}, "RS256", name="a", **RS),
        "iss names an unknown issuer",
    ),
    "an issuer in capitals": (lambda: token(CLAIMS | {"iss": A.upper()}, "RS256", name="a", **RS), "iss names an"),
    "issuers in a list": (lambda: token(CLAIMS | {"iss": [A]}, "RS256", name="a", **RS), "iss is not a string"),
    "an issuer that is null": (lambda: _own(iss=None), "iss is not a string"),
    # The header
    "crit": (lambda: token(OWN, key=SECRET, crit=["x"], x=1), "crit is not supported"),
    "crit that is empty": (lambda: token(OWN, key=SECRET, crit=[]), "crit"),
    "crit of b64": (lambda: token(OWN, key=SECRET, crit=["b64"], b64=False), "crit"),
    "b64": (lambda: token(OWN, key=SECRET, b64=False), "b64 is not supported"),
    "a header that is a list": (lambda: token(OWN, key=SECRET, header=[]), "its header is not a JSON object"),
    "a header with a name twice": (
        lambda: token(OWN, key=SECRET, header=b'{"alg":"HS256","alg":"none"}'),
        "its header has a name twice",
    ),
    "a header of more than 2 KiB": (lambda: token(OWN, key=SECRET, x5c=["M" * 2048]), "its header is longer"),
    # The form
    "a token in a token": (lambda: token(_own().encode(), key=SECRET, cty="JWT"), "its claims is not JSON"),
    "five parts": (lambda: ".".join(["e30"] * 5), "neither a key nor a ticket nor a token"),
    "two parts": (lambda: ".".join(["e30"] * 2), "neither a key"),
    "JSON": (lambda: json.dumps({"payload": coded(OWN), "signatures": []}), "neither a key"),
    "no signature": (lambda: _with(2, lambda _: ""), "wrong signature"),
    "half a signature": (lambda: _with(2, lambda text: text[:22]), "wrong signature|not base64url"),
    "another subject": (lambda: _with(1, lambda _: coded(OWN | {"sub": "43"})), "wrong signature"),
    "padding": (lambda: _with(1, lambda text: f"{text}="), "neither a key"),
    "another spelling of the signature": (
        lambda: _with(2, _next),
        "not base64url",
    ),
    "a letter too many": (
        lambda: _with(1, lambda text: text + "A" * (-len(text) % 4 + 1)),
        "not base64url",
    ),
    "a psychic signature": (lambda: _es256(bytes(64)), "wrong signature"),
    "a signature of the order": (lambda: _es256(b"\xff" * 64), "wrong signature"),
    "a signature in DER": (lambda: _es256(_der_of_es256()), "wrong signature"),
    "claims with a name twice": (lambda: _text(f'{{{_OWN_TEXT}, "sub": "43"}}'), "its claims has a name twice"),
    "grants with a name twice": (
        lambda: _text('{"roomcast": {"read": ["a"], "read": ["*"]}, "sub": "42", "exp": 1e9}'),
        "its claims has a name twice",
    ),
    "claims that are a list": (lambda: _text("[]"), "its claims is not a JSON object"),
    "claims that are nested": (lambda: _text("[" * 3000 + "]" * 3000), "its claims is not JSON"),
    "claims that are no UTF-8": (lambda: token(b'{"sub": "\xff"}', key=SECRET), "its claims is not JSON"),
    "sub that is half a character": (lambda: _own(sub="\ud800"), "its claims is not JSON"),
    "user that is half a character": (lambda: _own(roomcast={"user": "\udc00x"}), "its claims is not JSON"),
    "read of half a character": (lambda: _text('{"roomcast": {"read": ["\\uD83D"]}, "sub": "42"}'), "not JSON"),
    "kid that is half a character": (lambda: token(OWN, key=SECRET, kid="\ud800"), "its header is not JSON"),
    "claims behind a byte order mark": (lambda: token(b"\xef\xbb\xbf{}", key=SECRET), "its claims is not JSON"),
    # The times
    "no exp": (lambda: _text('{"sub": "42"}'), "exp is missing"),
    "exp that is null": (lambda: _own(exp=None), "exp is not a number"),
    "exp that is text": (lambda: _own(exp=str(NOW + 900)), "exp is not a number"),
    "exp that is true": (lambda: _own(exp=True), "exp is not a number"),
    "exp that is NaN": (lambda: _text('{"sub": "42", "exp": NaN}'), "its claims is not JSON"),
    "exp that is infinite": (lambda: _text('{"sub": "42", "exp": Infinity}'), "its claims is not JSON"),
    "exp of 1e400": (lambda: _text('{"sub": "42", "exp": 1e400}'), "exp is not a time"),
    "exp of 400 digits": (lambda: _text(f'{{"sub": "42", "exp": {"9" * 400}}}'), "exp is not a time"),
    "exp of 5,000 digits": (lambda: _text(f'{{"sub": "42", "exp": {"9" * 5000}}}'), "its claims is not JSON"),
    "exp below zero": (lambda: _own(exp=-1), "exp is not a time"),
    "exp 31 days ahead": (lambda: _own(exp=NOW + 31 * 86_400), "exp is more than 30 days ahead"),
    "exp 31 days after iat": (
        lambda: _own(iat=NOW - 86_400 * 20, exp=NOW + 86_400 * 10 + 31),
        "exp is more than 30 days after iat",
    ),
    "nbf ahead": (lambda: _own(nbf=NOW + 40), "nbf is in the future"),
    "nbf that is text": (lambda: _own(nbf="0"), "nbf is not a number"),
    "iat ahead": (lambda: _own(iat=NOW + 40), "iat is in the future"),
    # The rest
    "another audience": (lambda: token(CLAIMS | {"aud": "app"}, "RS256", name="a", **RS), "aud names somebody"),
    "audiences without ours": (lambda: token(CLAIMS | {"aud": ["a", "b"]}, "RS256", name="a", **RS), "aud names"),
    "an audience in part": (lambda: token(CLAIMS | {"aud": "roomcast2"}, "RS256", name="a", **RS), "aud names"),
    "no audience": (lambda: token({**OWN, "iss": A}, "RS256", name="a", **RS), "aud is missing"),
    "no sub": (lambda: _text('{"exp": 1795690190}'), "sub is missing"),
    "sub that is a number": (lambda: _own(sub=42), "sub is not a string"),
    "sub that is empty": (lambda: _own(sub=""), "sub is not a string"),
    "sub with a line end": (lambda: _own(sub="4\n2"), "sub is not a string"),
    "sub of 129 characters": (lambda: _own(sub="x" * 129), "sub is not a string"),
    "roomcast that is text": (lambda: _own(roomcast="*"), "the claim for roomcast is not an object"),
    "read that is text": (lambda: _own(roomcast={"read": "*"}), "read is not a list of strings"),
    "read that is a number": (lambda: _own(roomcast={"read": 1}), "read is not a list of strings"),
    "read with a number": (lambda: _own(roomcast={"read": ["a", 1]}), "read is not a list of strings"),
    "read with a control character": (lambda: _own(roomcast={"read": ["a\u0007"]}), "an invalid room name"),
    "1,001 grants": (
        lambda: _own(roomcast={"read": ["a"] * 600, "publish": ["a"] * 401}),
        "more than 1000",
    ),
    "a misspelled right": (lambda: _own(roomcast={"raed": ["a"]}), "has 'raed', did it mean read"),
    "a right to administer": (lambda: _own(roomcast={"admin": True}), "has 'admin'"),
    "a user that is none": (lambda: _own(roomcast={"user": ""}), "user is not a string"),
}


HELD = {name for name, (_, reason) in ATTACKS.items() if reason.startswith(("unknown kid", "no kid"))} | {
    "a key in the header, without kid"
}
"""Their key may be one that was not fetched yet: they are refused when newer keys lack it, too."""


@pytest.mark.parametrize("name", GOOD)
def test_a_good_token_is_accepted(rights: ConfiguredRights, name: str) -> None:
    holder = rights.identify(GOOD[name](), NOW)
    assert (holder.kind, holder.sub, holder.user) == ("token", "42", "42")
    assert holder.read.texts() == ["a"]


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_refused_by_the_check_meant_for_it(rights: ConfiguredRights, name: str) -> None:
    made, reason = ATTACKS[name]
    text = made()
    now = NOW
    if name in HELD:
        with pytest.raises(RightsUnavailable):
            rights.identify(text, now)
        now += 61
        _fetch_newer(rights, now - 1)
    with pytest.raises(InvalidToken, match=r"^not valid$") as raised:
        rights.identify(text, now)
    assert re.search(reason, raised.value.reason), raised.value.reason
    assert raised.value.__cause__ is None
    if len(text) > 100:
        assert text[-40:] not in raised.value.reason


def _fetch_newer(rights: ConfiguredRights, now: float) -> None:
    """The same keys are fetched again."""
    for one in rights.issuers or ():
        if isinstance(one.source, Jwks):
            one.source._take(Fetched(one.source._keys, 3600, ()), now)
            one.source._tried_at = now


FORGED: dict[str, dict[str, str]] = {
    "another algorithm": {"algorithm": "RS384", "kid": "1"},
    "an unknown kid": {"algorithm": "RS256", "kid": "9"},
    "no kid": {"algorithm": "ES256"},
    "a wrong signature": {"algorithm": "RS256", "kid": "1"},
}
"""Headers of tokens that a stranger signs."""
UNVERIFIED: dict[str, dict[str, object]] = {
    "expired": {"exp": NOW - 4000},
    "exp that is text": {"exp": "soon"},
    "issued long ago": {"iat": NOW - 86_400},
    "issued in the future": {"iat": NOW + 86_400},
    "another audience": {"aud": "app"},
    "no sub": {"sub": ""},
    "a bad grant": {"roomcast": {"read": "*"}},
}


def outcome(rights: ConfiguredRights, text: str) -> tuple[str, str]:
    """How a token is refused, and what the audit log says."""
    with pytest.raises((InvalidToken, RightsUnavailable)) as raised:
        rights.identify(text, NOW)
    return f"{raised.value.status} {raised.value.detail}", getattr(raised.value, "reason", "")


@pytest.mark.parametrize("claims", UNVERIFIED)
@pytest.mark.parametrize("header", FORGED)
def test_no_outcome_depends_on_a_claim_that_is_not_verified(
    rights: ConfiguredRights, header: str, claims: str
) -> None:
    plain, forged = (
        token(CLAIMS | more, name="evil", **FORGED[header]) for more in ({"jti": claims}, UNVERIFIED[claims])
    )
    assert outcome(rights, forged) == outcome(rights, plain)


def test_an_attack_stays_refused_when_the_good_key_was_used_before(rights: ConfiguredRights) -> None:
    """CVE-2026-49998: keys were cached by their name alone."""
    assert rights.identify(GOOD["RS256"](), NOW)
    assert rights.identify(token(CLAIMS | {"iss": B}, "RS256", name="b", kid="1"), NOW).grantor == Grantor(B)
    for name in ("another issuer's key under the same name", "HS256 with the public key in PEM"):
        with pytest.raises(InvalidToken):
            rights.identify(ATTACKS[name][0](), NOW)


def test_the_holder_of_an_expired_token_is_told_so(rights: ConfiguredRights) -> None:
    assert rights.identify(_own(exp=NOW - LEEWAY_SECONDS + 0.1), NOW)
    with pytest.raises(InvalidToken) as raised:
        rights.identify(_own(exp=NOW - LEEWAY_SECONDS), NOW)
    assert (raised.value.detail, raised.value.reason) == ("expired", "bad token: it has expired")


def test_a_signature_that_the_library_cannot_read_is_wrong(
    rights: ConfiguredRights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger writes it: an error would be answered with 500."""

    class Failing:
        def verify(self, *signed: object) -> bool:
            raise ValueError("too short")

    monkeypatch.setitem(jose._ALGORITHMS, "ES256", Failing())
    good = token(CLAIMS, "ES256", name="a", kid="es")
    assert outcome(rights, good) == ("401 not valid", "bad token: wrong signature")
