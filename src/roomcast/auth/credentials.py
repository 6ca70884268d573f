"""A credential as a request sends it: its text out of the header, and which kind it is by its first letters.

Nothing here says what is in a credential that is refused: it may be a good one, sent in a wrong way.
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
"""Of a credential; a token of an identity provider has 1 to 4 KiB."""

NOT_VALID: Final = "not valid"
"""All that its holder is told of a credential that is refused for what it is."""

CredentialKind = Literal["key", "ticket", "token"]

_FIELD = re.compile(rb"([A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]*) +([^ ]+)", re.ASCII)
"""A scheme, spaces, and one word (RFC 9110, section 11.4)."""
_TOKEN68 = re.compile(rb"[A-Za-z0-9._~+/-]+=*", re.ASCII)
_PLAIN = (string.ascii_letters + string.digits + "._~+/-").encode()
_SEND = "send `Authorization: Bearer CREDENTIAL`, or Basic with a key as its password"


def of_authorization(value: bytes) -> str:
    """The credential in the value of a request's `Authorization`: a bearer's text, or the password of Basic, whose
    user name says nothing.

    Raises `BadCredential` where it is too long, malformed, of another scheme, or given twice."""
    if len(value) > MAX_BYTES:
        raise BadCredential(f"a credential has at most {MAX_BYTES // 1024} KiB")
    word = value.removeprefix(b"Bearer ")
    if word and len(word) < len(value) and not word.translate(None, _PLAIN):  # as nearly all send it
        return word.decode()
    value = value.strip(b" \t")
    if b"," in value:  # fields of one name are one list (RFC 9110, section 5.3); no credential has a comma
        raise BadCredential("Authorization is given twice: send one")
    found = _FIELD.fullmatch(value)
    if not found:
        raise BadCredential(f"Authorization cannot be read: {_SEND}")
    scheme, word = found[1].lower(), found[2]
    if scheme not in (b"bearer", b"basic"):
        raise BadCredential(f"this scheme of Authorization is not taken: {_SEND}")
    if not _TOKEN68.fullmatch(word):
        raise BadCredential(f"Authorization cannot be read: {_SEND}")
    return word.decode() if scheme == b"bearer" else _password(word)


def of_pair(pair: bytes) -> str:
    """A credential from elsewhere in a request, behind the place and `=`: a cookie, a ticket in the URL. Raises
    `BadCredential` where it is too long."""
    text = pair.partition(b"=")[2].decode("latin-1")
    if len(text) > MAX_BYTES:
        raise BadCredential(f"a credential has at most {MAX_BYTES // 1024} KiB")
    return text


def of_cookie(header: bytes, name: bytes) -> bytes | None:
    """What the cookie of this name has in a request's `Cookie`; None where it is not there.

    Raises `InvalidToken` where it is given twice: a page of a sibling domain may have set the other one, and which
    of them is sent first says nothing (RFC 6265, section 5.4)."""
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
    """Whether the value of an `Authorization` has a key or a ticket of ours in it, and is not somebody else's."""
    try:
        return kind_of(of_authorization(value)) != "token"
    except BadCredential:
        return False


def kind_of(credential: str) -> CredentialKind:
    """Which kind it is, or claims to be."""
    if credential.startswith(KEY):
        return "key"
    # The prefix without its version: a ticket of a later version is no token either.
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
