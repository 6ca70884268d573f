"""The secrets that tickets and HS256 tokens are signed with, and which of them are refused.

A secret is bytes as they are in its file, never decoded from base64: two programs that disagree on the encoding
would sign with different keys, and the one that decodes leniently would sign with fewer bytes than it was given.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Sequence

from roomcast.auth import base64url
from roomcast.model.errors import CannotStart
from roomcast.model.regular_file import read_regular

LEAST_BYTES = 32
"""An HMAC's key must not be shorter than its hash (RFC 7518, section 3.2)."""
_MOST_BYTES = 64 * 1024
"""Far more than a secret has."""
_LEAST_PERIOD = 16
"""A secret that repeats itself after fewer bytes is refused. Random ones never do, even in hex."""
_MOST_PERIOD = 128
"""Periods of this many bytes or more are not searched for."""
_ID_BYTES = 6
ID_LENGTH = _ID_BYTES * 4 // 3
"""Characters of a secret's id."""

_WELL_KNOWN = frozenset(
    {
        b"!changeme!",
        b"!changethismercurehubjwtsecretkey!",  # Mercure's examples
        b"!changethismercurehubjwtsecretkey",
        b"a-string-secret-at-least-256-bits-long",  # jwt.io
        b"your-256-bit-secret",
        b"your-super-secret-jwt-token-with-at-least-32-characters-long",  # Supabase
        b"super-secret-jwt-token-with-at-least-32-characters-long",
        b"09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI's tutorial
        b"change-me",
        b"change_me",
        b"changeit",
        b"changeme",
        b"changethis",
        b"keyboard cat",
        b"my-secret",
        b"mysecret",
        b"password",
        b"secret",
        b"secretkey",
        b"supersecret",
        b"test",
        b"your-secret-key",
        b"your_secret_key",
    }
)
"""Secrets of examples and defaults, in lower case: everybody who has read the same example can sign with them."""

_MAKE_ONE = "make one with `openssl rand -base64 48`"


class Secret:
    """One secret. Its `repr` does not show it."""

    __slots__ = ("id", "text", "ticket_key")

    def __init__(self, text: bytes) -> None:
        self.text: bytes = text
        """The bytes that HS256 tokens are signed with."""
        self.id: str = base64url.encode(derived(text, b"roomcast secret id v1")[:_ID_BYTES])
        """Identifies it among others, and reveals nothing about it."""
        self.ticket_key: bytes = derived(text, b"roomcast ticket v1")
        """The key that signs tickets. It differs from the secret, so that a ticket never passes as a token, nor a
        token as a ticket."""


class Secrets:
    """The configured secrets: the first signs and each of them verifies, so that one can replace another."""

    def __init__(self, secrets: Sequence[Secret] = ()) -> None:
        self._all = tuple(secrets)
        self._by_id = {secret.id: secret for secret in self._all}

    def __bool__(self) -> bool:
        """Whether any secret is configured."""
        return bool(self._all)

    def __iter__(self) -> Iterator[Secret]:
        return iter(self._all)

    @property
    def signing(self) -> Secret:
        """The secret that signs. Raises `LookupError` if none is configured."""
        if not self._all:
            raise LookupError("no secret is configured")
        return self._all[0]

    def get(self, id: str) -> Secret | None:
        """The secret with this `id`; None if there is none."""
        return self._by_id.get(id)

    @classmethod
    def read(cls, paths: Sequence[str]) -> Secrets:
        """The secrets in the files at `paths`, one in each. Blocks. Raises `CannotStart` for the first file that
        cannot be used."""
        return cls([_of_file(path) for path in paths])

    @classmethod
    def of_text(cls, text: str, what: str) -> Secrets:
        """The secret `text`, as an environment variable gives it; `what` names it in an error. Raises
        `CannotStart`."""
        return cls([secret(text.encode("utf-8", "surrogateescape"), what)])


def secret(data: bytes, what: str) -> Secret:
    """The secret in `data`; a line end at the end is not part of it. Raises `CannotStart` with a sentence that
    begins with `what` and shows nothing of the secret."""
    text = data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\n") else data
    if b"-----BEGIN " in text:
        raise CannotStart(f"{what} is a key in PEM, which is for other algorithms: {_MAKE_ONE}")
    if text.lstrip().startswith(b"{") and b'"kty"' in text:
        raise CannotStart(f"{what} is a JWK, which is for other algorithms: {_MAKE_ONE}")
    if _is_well_known(text):
        raise CannotStart(f"{what} is an example secret that everybody knows: {_MAKE_ONE}")
    if len(text) < LEAST_BYTES:
        raise CannotStart(f"{what} has {len(text)} bytes, and at least {LEAST_BYTES} are needed: {_MAKE_ONE}")
    if _period(text) < _LEAST_PERIOD:
        raise CannotStart(f"{what} is a short text repeated, which can be guessed: {_MAKE_ONE}")
    return Secret(text)


def _of_file(path: str) -> Secret:
    return secret(read_regular(path, f"the secret's file {path}", _MOST_BYTES), f"the secret in {path}")


def _is_well_known(text: bytes) -> bool:
    """Whether `text` is an example's secret: once, repeated, or padded at one end with copies of one character."""
    plain = text.strip(b" \t\r\n\0").lower()
    forms = {plain, plain[: _period(plain)], plain.rstrip(plain[-1:]), plain.lstrip(plain[:1])}
    # The padding character may be the example's own first or last character.
    forms |= {form + plain[-1:] for form in forms} | {plain[:1] + form for form in forms}
    return any(form in _WELL_KNOWN or form.startswith(b"django-insecure-") for form in forms)


def derived(text: bytes, label: bytes) -> bytes:
    """32 bytes derived from the secret `text` for the purpose `label`: HKDF with SHA-256 (RFC 5869), without salt,
    one block."""
    extracted = hmac.digest(bytes(hashlib.sha256().digest_size), text, "sha256")
    return hmac.digest(extracted, label + b"\x01", "sha256")


def _period(text: bytes) -> int:
    """The number of bytes after which `text` repeats itself; the last repetition may be incomplete."""
    return next(
        (size for size in range(1, min(len(text), _MOST_PERIOD)) if text[size:] == text[:-size]), len(text)
    )
