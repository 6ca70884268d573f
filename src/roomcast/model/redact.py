"""Redaction: replaces passwords, tickets and tokens in log lines, answers and errors.

Too much is redacted rather than too little: a redacted `key=…` that was not secret costs a reader some time, a
ticket in a log file costs the room's secrecy.
"""

from __future__ import annotations

import re
import string
from urllib.parse import quote

_MARK = "…"
_MAX_TARGET = 1_000
"""Bytes of a request's target that are shown. A target may be as long as a request's head."""
_CACHED_TARGETS = 256
"""Targets whose text is cached: most requests repeat others' targets."""

_NAMES = ("access_token", "authorization", "auth", "jwt", "key", "password", "secret", "ticket", "token")
"""Query parameters that carry credentials, here or in applications mounted beside us."""
_HEADERS = ("proxy-authorization", "authorization", "set-cookie", "cookie")


def _spelled(name: str) -> str:
    """A pattern for all spellings that a query's parser takes for `name`: each letter may be percent-encoded."""
    return "".join(f"(?:{re.escape(c)}|%{ord(c):02x}|%{ord(c.upper()):02x})" for c in name)


_FLAGS = re.IGNORECASE | re.ASCII
_SPELLINGS = "|".join(map(_spelled, _NAMES))
_FIRST = "".join({name[0] for name in _NAMES})
_QUOTED = r"""b?(?:'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")"""
_LISTED = r"[\[(][^\])]*[\])]?"
# Also takes %3D for `=`, and the like: a whole address may be the value of another parameter. The pattern begins
# with one set of characters, and has a lookahead that few names pass. These make it twice as fast.
_IN_TARGET = re.compile(
    rf"([?&;#%](?:(?<!%)|(?<=%)(?:3f|26|3b|23))(?=[%{_FIRST}])(?:{_SPELLINGS})(?:=|%3d))[^&]*", _FLAGS
)
# A value ends at a space, a quoted one at the first space after its quotes: `password='a b'`, `?ticket=it's`.
_AS_PAIR = re.compile(
    rf"((?:(?<![a-z0-9])|(?<=%3f|%26|%3b|%23))(?:{_SPELLINGS})(?:=|%3d))(?:{_QUOTED})?[^&\s]*", _FLAGS
)
_AS_ITEM = re.compile(
    rf"""((['"])(?:{"|".join((*_NAMES, *_HEADERS))})\2\s*[:,]\s*)(?:{_QUOTED}|{_LISTED}|[^\s,)}}\]]+)""", _FLAGS
)
# Matches to the end of the line, also if the text is the `repr` of a request's head.
_AS_FIELD = re.compile(rf"((?:\b|(?<=\\[rn]))(?:{'|'.join(_HEADERS)})\s*:\s*)(?:(?!\\[rn])[^\r\n])+", _FLAGS)
_WITH_SCHEME = re.compile(r"(\b(?:bearer|basic)\s+)(?=\S*[0-9=+/])[\w.~+/-]+=*", _FLAGS)
_OURS = re.compile(
    r"""()(?:(?:rck(?:_|%5f)[a-z0-9-]{1,32}|rct[0-9])(?:_|%5f)[^\s&'",;]*|eyJ[\w-]+\.[\w-]+\.[\w-]*)""", _FLAGS
)
"""Keys, tickets and tokens anywhere: under a misspelled name, in a path, as a room."""
_OF_LOGS = re.compile(
    r"([?&](?:tlsCertificateKeyFilePassword|authMechanismProperties|password|sslpassword)=)[^&]*", re.IGNORECASE
)
_PATTERNS = (
    (_AS_ITEM, ("'", '"')),
    (_AS_FIELD, ("authorization", "cookie")),
    (_WITH_SCHEME, ("bearer", "basic")),
    (_AS_PAIR, ("=", "%3d")),
    (_OURS, ("rck", "rct", "eyj")),
)
"""Each pattern with texts, of which the line must contain one for the pattern to match: the patterns are slow, and
most lines have no secrets."""

_cached: dict[bytes, str] = {}


def redacted_url(url: str) -> str:
    """Returns `url`, a log's connection string, without its password and other secrets, even if it is
    malformed."""
    login, at, rest = url.rpartition("@")
    kind, slashes, user = re.fullmatch(r"([^:]*:?)(/*)([^:]*).*", login, re.DOTALL).groups()  # type: ignore[union-attr]
    return _OF_LOGS.sub(rf"\1{_MARK}", f"{kind}{slashes}{user}@{rest}" if at else url)


def redacted(text: str) -> str:
    """Returns `text`, such as a log line or a traceback, without the values of secret parameters and header
    fields."""
    lower = text.lower()
    for pattern, marks in _PATTERNS:
        if any(mark in lower for mark in marks):
            text = pattern.sub(rf"\1{_MARK}", text)
    return text


def without_credentials(text: str) -> str:
    """Returns `text` without keys, tickets and tokens. A client may have sent one as a room or an id; an answer
    must not repeat it, since others show and log answers."""
    return _OURS.sub(_MARK, text) if "rck" in text or "rct" in text or "eyJ" in text else text


def redacted_target(target: bytes) -> str:
    """Returns a request's `target` for a log line: printable, at most 1,000 bytes of it, and without the values of
    secret parameters, however their names are encoded."""
    target = target[:_MAX_TARGET]
    cached = _cached.get(target)
    return _redact_target(target) if cached is None else cached


def _redact_target(target: bytes) -> str:
    # Punctuation is kept, or `%20` would become `%2520`; all else is quoted, since it could control a terminal.
    whole = quote(target, string.punctuation)
    if _IN_TARGET.search(whole) or _OURS.search(whole):
        return _OURS.sub(_MARK, _IN_TARGET.sub(rf"\1{_MARK}", whole))  # not cached
    if len(_cached) >= _CACHED_TARGETS:
        _cached.clear()
    _cached[target] = whole
    return whole
