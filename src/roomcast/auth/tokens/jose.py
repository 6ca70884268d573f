"""Keys and signatures; the only module that imports joserfc.

joserfc's own parsing of tokens is not used: it takes the last of several equal names in JSON, and refuses header
fields that providers add. It only reads keys and verifies signatures here.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from roomcast.model.settings.issuer import ASYMMETRIC, SYMMETRIC

LEAST_RSA_BITS = 2048
"""RFC 7518, section 3.3. joserfc accepts shorter keys."""
_ALGORITHMS = {name: JWSRegistry.algorithms[name] for name in SYMMETRIC + ASYMMETRIC}
_CURVES = {"P-256", "P-384", "Ed25519"}
_Kind = type[RSAKey] | type[ECKey] | type[OKPKey]
_KINDS: Mapping[str, _Kind] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_PEM_KINDS: Sequence[tuple[type, _Kind]] = (
    (RSAPublicKey, RSAKey),
    (EllipticCurvePublicKey, ECKey),
    (Ed25519PublicKey, OKPKey),
)


class VerifyingKey(NamedTuple):
    """A key that verifies signatures."""

    key: Any
    kid: str | None
    """Its name among its issuer's keys."""
    algorithms: frozenset[str]
    """The algorithms that it is for: all for secrets or all for public keys, never both."""
    id: str = ""
    """Identifies it among other keys, and reveals nothing about it."""


def verifies(key: VerifyingKey, algorithm: str, signed: bytes, signature: bytes) -> bool:
    """Whether `signature` is a signature of `signed` by `key`; `algorithm` is one of the key's own."""
    try:
        return bool(_ALGORITHMS[algorithm].verify(signed, signature, key.key))
    except (JoseError, ValueError):  # a stranger wrote the signature: whatever joserfc cannot read is wrong
        return False


def of_secret(secret: bytes) -> VerifyingKey:
    """The key for HS256 whose bytes are `secret`."""
    return VerifyingKey(OctKey.import_key(secret), None, frozenset(SYMMETRIC), _id(secret))


def of_pem(data: bytes) -> VerifyingKey:
    """The public key in `data`, which is PEM. Raises `ValueError`, and `WeakKey` for a key that is not accepted.
    The text of the error continues a sentence that begins with the key's place."""
    if b"PRIVATE KEY-----" in data:
        raise ValueError(
            "is a private key, which only its issuer may have: `openssl pkey -pubout` shows the public one"
        )
    if b"BEGIN CERTIFICATE-----" in data:
        raise ValueError("is a certificate: `openssl x509 -pubkey -noout` shows its public key")
    if data.count(b"-----BEGIN ") > 1:
        raise ValueError("has several keys: give each a file")
    try:
        public = load_pem_public_key(data)
        kind = next((kind for native, kind in _PEM_KINDS if isinstance(public, native)), None)
        if kind is None:
            raise WeakKey(f"is not a key for {', '.join(ASYMMETRIC)}")
        if isinstance(public, RSAPublicKey):
            _check_size(public.key_size)
        return _key(kind.import_key(data), None)._replace(id=_id(data))
    except (JoseError, UnsupportedAlgorithm, TypeError):
        raise ValueError("is not a public key in PEM") from None
    except ValueError as error:
        raise error if isinstance(error, WeakKey) else ValueError("is not a public key in PEM") from None


def _id(data: bytes) -> str:
    return hashlib.sha256(b"roomcast key id v1\n" + data).hexdigest()[:16]


class WeakKey(ValueError):
    """A key that can be broken, or of a kind that is not accepted."""


def of_jwk(data: Mapping[str, Any]) -> VerifyingKey | None:
    """The public key in `data`, one key of a JWKS; None if it is of another kind (`kty`) or for another use.
    Raises `ValueError` with the fault."""
    kind = _KINDS.get(str(data.get("kty")))
    if kind is None or data.get("use", "sig") != "sig":  # RFC 7517, section 5: such keys are ignored
        return None
    public = {name: value for name, value in data.items() if name not in ("d", "p", "q", "dp", "dq", "qi", "oth")}
    kid = data.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise ValueError("its kid is not a string")
    try:
        if kind is RSAKey:  # before joserfc sees it, which only warns about a short key
            _check_size(int.from_bytes(urlsafe_b64decode(f"{data['n']}==")).bit_length())
        key = kind.import_key(public)
        return _key(key, kid)._replace(id=_id(key.thumbprint().encode()))
    except WeakKey:
        raise
    except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError):
        raise ValueError("it cannot be read") from None


def _key(key: RSAKey | ECKey | OKPKey, kid: str | None) -> VerifyingKey:
    if not isinstance(key, RSAKey) and key.curve_name not in _CURVES:
        raise WeakKey(f"is on the curve {key.curve_name}; {', '.join(sorted(_CURVES))} are accepted")
    if not (fitting := frozenset(_fitting(key))):
        raise WeakKey(f"is not a key for {', '.join(ASYMMETRIC)}")
    return VerifyingKey(key, kid, fitting)


def _check_size(bits: int) -> None:
    if bits < LEAST_RSA_BITS:
        raise WeakKey(f"has {bits} bits, and at least {LEAST_RSA_BITS} are needed")


def _fitting(key: RSAKey | ECKey | OKPKey) -> Iterable[str]:
    for name in ASYMMETRIC:
        try:
            _ALGORITHMS[name].check_key(key)
            key.check_key_op("verify")
        except JoseError:
            continue
        yield name
