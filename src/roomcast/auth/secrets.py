"""The secrets that tickets and HS256 tokens are signed with, and which of them are refused.

A secret is bytes as they are in its file, never decoded from base64: two programs that disagree on the encoding
would sign with different keys, and the one that decodes leniently would sign with fewer bytes than it was given.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import stat
from collections.abc import Iterator, Sequence

from roomcast.model.errors import CannotStart

LEAST_BYTES = 32
"""An HMAC's key must not be shorter than its hash (RFC 7518, section 3.2)."""
_MOST_BYTES = 64 * 1024
"""Far more than a secret has: a path that was mistyped must not fill the memory."""
_LEAST_PERIOD = 16
"""Bytes after which a secret may begin to repeat itself. Random ones never do, also where they are hex."""
_MOST_PERIOD = 128
"""Longer ones are not looked for."""
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
"""Of examples and defaults, in small letters: whoever has read the same example can sign with it."""

_MAKE_ONE = "make one with `openssl rand -base64 48`"


class Secret:
    """One secret. Nothing that prints it shows what it is."""

    __slots__ = ("id", "text", "ticket_key")

    def __init__(self, text: bytes) -> None:
        self.text = text
        """Its bytes, for HS256."""
        self.id = base64.urlsafe_b64encode(derived(text, b"roomcast secret id v1")[:_ID_BYTES]).decode()
        """Says which of several it is, and nothing about it."""
        self.ticket_key = derived(text, b"roomcast ticket v1")
        """Tickets are signed with this. It is not the secret: a ticket can never pass as a token, nor a token as
        a ticket."""


class Secrets:
    """Any number of them: the first signs, and each of them verifies, so that one can be replaced by another."""

    def __init__(self, secrets: Sequence[Secret] = ()) -> None:
        self._all = tuple(secrets)
        self._by_id = {secret.id: secret for secret in reversed(self._all)}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._all)

    def __iter__(self) -> Iterator[Secret]:
        return iter(self._all)

    @property
    def signing(self) -> Secret:
        """The one that signs. Raises `LookupError` where there is none."""
        if not self._all:
            raise LookupError("no secret is configured")
        return self._all[0]

    def named(self, id: str) -> Secret | None:
        """The one with this id."""
        return self._by_id.get(id)

    @classmethod
    def read(cls, paths: Sequence[str]) -> Secrets:
        """Those of these files. Blocks. Raises `CannotStart` for the first that is none."""
        return cls([secret(_contents(path), f"the secret in {path}") for path in paths])

    @classmethod
    def of_text(cls, text: str, what: str) -> Secrets:
        """One that is given as text; `what` names it in an error. Raises `CannotStart`."""
        return cls([secret(text.encode("utf-8", "surrogateescape"), what)])


def secret(data: bytes, what: str) -> Secret:
    """One from its bytes, of which a line end at the end is no part. Raises `CannotStart` with a sentence that
    begins with `what` and shows nothing of the secret."""
    text = data.removesuffix(b"\n").removesuffix(b"\r") if data.endswith(b"\n") else data
    if b"-----BEGIN " in text:
        raise CannotStart(f"{what} is a key in PEM, which is for other algorithms: {_MAKE_ONE}")
    if text.lstrip().startswith(b"{") and b'"kty"' in text:
        raise CannotStart(f"{what} is a JWK, which is for other algorithms: {_MAKE_ONE}")
    if is_well_known(text):
        raise CannotStart(f"{what} is an example's, which everybody knows: {_MAKE_ONE}")
    if len(text) < LEAST_BYTES:
        raise CannotStart(f"{what} has {len(text)} bytes, and at least {LEAST_BYTES} are needed: {_MAKE_ONE}")
    if _period(text) < _LEAST_PERIOD:
        raise CannotStart(f"{what} is a short text repeated, which can be guessed: {_MAKE_ONE}")
    return Secret(text)


def is_well_known(text: bytes) -> bool:
    """Whether it is one of an example, once, repeated, or made longer with one character at an end."""
    plain = text.strip(b" \t\r\n\0").lower()
    forms = {plain, plain[: _period(plain)], plain.rstrip(plain[-1:]), plain.lstrip(plain[:1])}
    # The character that it was made longer with may be one that the example itself has at its end.
    ends = {form + last for form in forms for last in (plain[-1:], b"")}
    return any(form in _WELL_KNOWN or form.startswith(b"django-insecure-") for form in ends)


def derived(text: bytes, label: bytes) -> bytes:
    """32 bytes made of a secret for one purpose: HKDF with SHA-256 (RFC 5869), without salt, one block."""
    extracted = hmac.digest(bytes(hashlib.sha256().digest_size), text, "sha256")
    return hmac.digest(extracted, label + b"\x01", "sha256")


def _period(text: bytes) -> int:
    """After how many bytes it repeats itself, also where it ends within a repetition."""
    return next(
        (size for size in range(1, min(len(text), _MOST_PERIOD)) if text[size:] == text[:-size]), len(text)
    )


def _contents(path: str) -> bytes:
    try:
        # Only a file is opened: opening a pipe may wait for ever, and it would be empty when it is read again.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise CannotStart(f"the secret's file {path} is not a regular file: name one")
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        why = getattr(error, "strerror", None) or error
        raise CannotStart(
            f"the secret's file {path} cannot be read ({why}): name a file that is there, and that the server's "
            "user may read"
        ) from None
    if len(data) > _MOST_BYTES:
        raise CannotStart(f"the secret's file {path} has more than {_MOST_BYTES // 1024} KiB: name another file")
    return data
