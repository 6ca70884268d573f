"""Tokens for tests, good ones and every other kind, and the keys that sign them."""

from __future__ import annotations

import base64
import hmac
import json
import warnings
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc.jwk import ECKey, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


@cache
def private(kind: str, name: str = "") -> Any:
    """A private key of the library cryptography. `kind` is RSA (or RSA and its bits), ES256, ES384, Ed25519 or
    Ed448, and `name` tells several of one kind apart."""
    if kind.startswith("RSA"):
        return rsa.generate_private_key(65537, int(kind[3:] or 2048))
    if kind == "Ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind == "Ed448":
        return ed448.Ed448PrivateKey.generate()
    return ec.generate_private_key(_CURVES[kind])


def pem(kind: str, name: str = "") -> bytes:
    """The public key in PEM."""
    return bytes(private(kind, name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def der(kind: str, name: str = "") -> bytes:
    """The public key in DER."""
    return bytes(private(kind, name).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def private_pem(kind: str, name: str = "") -> bytes:
    """The private key in PEM."""
    return bytes(private(kind, name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def jwk(kind: str, name: str = "", **more: Any) -> dict[str, Any]:
    """The public key as a JWK."""
    return {**_key(kind, name).as_dict(private=False), **more}


def _key(kind: str, name: str) -> Any:
    importer = {"RSA": RSAKey, "Ed2": OKPKey, "ES2": ECKey, "ES3": ECKey, "ES5": ECKey}[kind[:3]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of keys that are too short
        return importer.import_key(private_pem(kind, name))  # type: ignore[attr-defined]


_KINDS = {"RS": "RSA", "PS": "RSA", "Ed": "Ed25519"}


def signature(algorithm: str, signed: bytes, key: bytes | str = "", name: str = "") -> bytes:
    """A signature by `key`: a secret, or the kind of a private key, by default the kind that the algorithm
    needs."""
    if isinstance(key, bytes):
        return hmac.digest(key, signed, f"sha{algorithm[2:]}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind = key or _KINDS.get(algorithm[:2], algorithm)
        return JWSRegistry.algorithms[algorithm].sign(signed, _key(kind, name))


def coded(value: object) -> str:
    """A part of a token: bytes unchanged, any other value as JSON."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(
    claims: object,
    algorithm: str = "HS256",
    key: bytes | str = "",
    name: str = "",
    header: object = None,
    **more: Any,
) -> str:
    """A token. `more` is added to its header; `header` replaces the whole header, also as bytes."""
    head = {"alg": algorithm, "typ": "JWT", **more} if header is None else header
    signed = f"{coded(head)}.{coded(claims)}"
    return f"{signed}.{coded(signature(algorithm, signed.encode(), key, name))}"
