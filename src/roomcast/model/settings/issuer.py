"""An issuer of tokens: `[[issuer]]` in the configuration's file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from roomcast.model.loopback import is_loopback
from roomcast.model.settings.kinds import Checked, Paths, Repeated, Switch, Text, described
from roomcast.model.settings.limits import LimitColumns
from roomcast.model.settings.section import BadRow, column
from roomcast.model.settings.template import parse_template

SYMMETRIC = ("HS256",)
"""Algorithms that sign with a secret."""
ASYMMETRIC = ("RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")
"""Algorithms that sign with a private key; RFC 9864 calls EdDSA Ed25519."""
_SOURCES = ("jwks", "public_keys", "secret_files")


def _algorithm(text: str) -> str:
    if text not in SYMMETRIC + ASYMMETRIC:
        raise ValueError(f"must be one of {', '.join(SYMMETRIC + ASYMMETRIC)}, not {described(text)}")
    return text


def _jwks(text: str) -> str:
    """Returns a URL unchanged. Raises `ValueError` if it has a password, or does not use TLS to another
    machine."""
    try:
        parts = urlsplit(Text().check(text))
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"must be a URL, not {described(text)}") from None
    if parts.scheme not in ("https", "http") or not host or port == 0 or "@" in parts.netloc or parts.fragment:
        raise ValueError(f"must be a URL such as https://app.example.com/jwks.json, not {described(text)}")
    if parts.scheme == "http" and not is_loopback(host) and host.rstrip(".") != "localhost":
        raise ValueError(f"must begin with https://, since {host} is another machine, not {described(text)}")
    return text


@dataclass(frozen=True, kw_only=True)
class Issuer(LimitColumns):
    """An issuer whose tokens are accepted: how they are verified, and the rights that they give."""

    iss: str | None = column(Text(), None)
    """The exact `iss` of its tokens."""
    audience: str | None = column(Text(), None)
    """The `aud` of its tokens, alone or in a list; None accepts any."""
    jwks: str | None = column(Checked(_jwks), None)
    """The URL from which its public keys are fetched."""
    public_keys: tuple[str, ...] = column(Paths(), ())
    """Files of its public keys (PEM)."""
    secret_files: tuple[str, ...] = column(Paths(), ())
    """Files of the secrets that it signs with."""
    algorithms: tuple[str, ...] = column(Repeated("ALGORITHM", _algorithm), ())
    """The accepted algorithms of its tokens; if none are given, those that fit its keys."""
    user: str = column(Text(), "sub")
    """The claim that gives the `user` of messages."""
    read: tuple[str, ...] = column(Repeated("GRANT", parse_template), ())
    """Grants, in which `{claim}` stands for the claim's value."""
    publish: tuple[str, ...] = column(Repeated("GRANT", parse_template), ())
    claims: bool | None = column(Switch(), None)
    """Whether tokens name grants themselves; None: only if neither read nor publish is given."""
    claim: str = column(Text(), "roomcast")
    """The claim in which tokens name grants."""

    @property
    def takes_claims(self) -> bool:
        """Whether its tokens name grants themselves."""
        return not (self.read or self.publish) if self.claims is None else self.claims

    def __post_init__(self) -> None:
        """Raises `ValueError` unless it has one source of keys, only algorithms that fit these, and something to
        grant."""
        given = [name for name in _SOURCES if getattr(self, name)]
        if len(given) != 1:
            found = f"has {' and '.join(given)}" if given else "has no keys"
            raise ValueError(f"{found}: give it one of {', '.join(_SOURCES)}")
        fit = SYMMETRIC if self.secret_files else ASYMMETRIC
        if wrong := [name for name in self.algorithms if name not in fit]:
            raise ValueError(f"has {wrong[0]} among its algorithms, and its {given[0]} are for {', '.join(fit)}")
        if not (self.read or self.publish or self.takes_claims):
            raise ValueError('may do nothing: give it read or publish, such as read = ["user/{sub}"]')


def check_distinct(rows: tuple[Any, ...]) -> None:
    """Raises `BadRow` or `ValueError` if `rows` are several issuers whose tokens could not be told apart."""
    if len(rows) < 2:
        return
    for index, row in enumerate(rows):
        missing = [name for name in ("iss", "audience") if getattr(row, name) is None]
        if missing:
            raise BadRow(f"[[issuer]] needs {' and '.join(missing)} where there are several issuers", index)
    if len({row.iss for row in rows}) < len(rows):
        raise ValueError(f"{rows[-1].iss!r:.200} is the iss of another [[issuer]]: give it one row")
