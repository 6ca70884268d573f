"""What of a log's name may be seen: in errors, in the banner, in what is logged."""

from __future__ import annotations

import re

_SECRET = re.compile(r"([?&](?:tlsCertificateKeyFilePassword|authMechanismProperties)=)[^&]*", re.IGNORECASE)


def redact(url: str) -> str:
    """A connection string without its password and what else is secret, also one with a mistake in it."""
    login, at, rest = url.rpartition("@")
    kind, slashes, user = re.fullmatch(r"([^:]*:?)(/*)([^:]*).*", login, re.DOTALL).groups()  # type: ignore[union-attr]
    return _SECRET.sub(r"\1…", f"{kind}{slashes}{user}@{rest}" if at else url)
