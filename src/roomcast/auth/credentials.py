"""Reads a credential from a request: its text, and its kind by its first letters.

No error here repeats any part of a refused credential: it may be a valid one, sent in a wrong way.
"""

from __future__ import annotations

import base64
import re
import string
from functools import lru_cache
from typing import Final, Literal

from roomcast.auth.keys import PREFIX as KEY
from roomcast.auth.tickets import PREFIX as TICKET
from roomcast.model.errors import BadCredential, InvalidToken

MAX_BYTES = 8 * 1024
"""Longest credential; a token of an identity provider has 1 to 4 KiB."""

NOT_VALID: Final = "not valid"
TICKET_EXPIRED: Final = "ticket-expired"
EXPIRED: Final = "expired"
"""The reasons that a client is told when its credential is refused. All others are for the audit log only."""

CredentialKind = Literal["key", "ticket", "token"]

_FIELD = re.compile(rb"([A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]*) +([^ ]+)", re.ASCII)
"""A scheme, spaces, and one word (RFC 9110, section 11.4)."""
_TOKEN68 = re.compile(rb"[A-Za-z0-9._~+/-]+=*", re.ASCII)
_PLAIN = (string.ascii_letters + string.digits + "._~+/-").encode()
_SEND = "send `Authorization: Bearer CREDENTIAL`, or Basic with a key as its password"


def of_authorization(value: bytes) -> str:
    """The credential in the `value` of an `Authorization` field: the Bearer token, or the password of Basic. The
    user name of Basic is ignored.

    Raises `BadCredential` if it is too long, malformed, of another scheme, or given twice."""
    if len(value) > MAX_BYTES:
        raise BadCredential(f"a credential has at most {MAX_BYTES // 1024} KiB")
    word = value.removeprefix(b"Bearer ")
    if word and len(word) < len(value) and not word.translate(None, _PLAIN):  # the form of nearly all clients
        return word.decode()
    value = value.strip(b" \t")
    if b"," in value:  # repeated fields are joined by commas (RFC 9110, section 5.3)
        raise BadCredential("Authorization is given twice: send one")
    found = _FIELD.fullmatch(value)
    if not found:
        raise BadCredential(f"Authorization cannot be read: {_SEND}")
    scheme, word = found[1].lower(), found[2]
    if scheme not in (b"bearer", b"basic"):
        raise BadCredential(f"this scheme of Authorization is not accepted: {_SEND}")
    if not _TOKEN68.fullmatch(word):
        raise BadCredential(f"Authorization cannot be read: {_SEND}")
    return word.decode() if scheme == b"bearer" else _password(word)


def of_pair(pair: bytes) -> str:
    """The credential in a `pair` of the form `PLACE=CREDENTIAL`: how `Guard` passes on a cookie or a ticket in a
    URL. Raises `BadCredential` if the credential is longer than `MAX_BYTES`."""
    text = pair.partition(b"=")[2].decode("latin-1")
    if len(text) > MAX_BYTES:
        raise BadCredential(f"a credential has at most {MAX_BYTES // 1024} KiB")
    return text


def of_cookie(header: bytes, name: bytes) -> bytes | None:
    """The value of the cookie called `name` in `header`, the value of a `Cookie` field; None if it is missing.

    Raises `InvalidToken` if it is given twice: a page of a sibling domain may have set one of them, and their
    order does not tell which (RFC 6265, section 5.4)."""
    if name not in header:
        return None
    found: list[bytes] = _cookies(name).findall(header)
    if len(found) > 1:
        raise InvalidToken(NOT_VALID, reason="the cookie is given twice")
    return found[0].strip(b" \t") if found else None


@lru_cache(16)
def _cookies(name: bytes) -> re.Pattern[bytes]:
    """Finds the values of all cookies of this name."""
    return re.compile(rb"(?:\A|;)[ \t]*%b[ \t]*(?:=([^;]*)|(?=;|\Z))" % re.escape(name))


def is_ours(value: bytes) -> bool:
    """Whether the `value` of an `Authorization` field holds a roomcast key or ticket."""
    try:
        return kind_of(of_authorization(value)) != "token"
    except BadCredential:
        return False


def kind_of(credential: str) -> CredentialKind:
    """The kind of `credential` by its prefix; nothing is verified."""
    if credential.startswith(KEY):
        return "key"
    # Without the version in the prefix: a ticket of a later version must not be taken for a token.
    return "ticket" if credential.startswith(TICKET[:3]) else "token"


def _password(word: bytes) -> str:
    try:
        pair = base64.b64decode(word, validate=True).decode()
    except ValueError:
        raise BadCredential("Basic is base64 of USER:PASSWORD, in UTF-8") from None
    password = pair.partition(":")[2]
    if not password:
        raise BadCredential("Basic has a key as its password, and any user name: `curl -u :KEY`")
    return password
