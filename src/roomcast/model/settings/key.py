"""A key of the configuration: `[[key]]` in its file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from roomcast.model.fields import check
from roomcast.model.settings.grant import parse_grant
from roomcast.model.settings.kinds import Checked, Repeated, Switch
from roomcast.model.settings.limits import LimitColumns
from roomcast.model.settings.section import column

_NAME = re.compile(r"[a-z0-9-]{1,32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def check_name(text: str) -> str:
    """Returns a key's name unchanged. Raises `ValueError`; its text continues a sentence that begins with
    "name"."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"must be 1 to 32 of a-z, 0-9 and -, not {text!r:.100}")
    return text


def _sha256(text: str) -> str:
    # The text is not shown: it may be the key itself, pasted here by mistake.
    if not _SHA256.fullmatch(text):
        raise ValueError("must be 64 digits of lower-case hex, the hash that `roomcast key NAME` prints")
    return text


def _user(text: str) -> str:
    if wrong := check("user", text):
        raise ValueError(wrong)
    return text


@dataclass(frozen=True, kw_only=True)
class Key(LimitColumns):
    """A program with rights: its name, the hash of its key, and its grants."""

    name: str = column(Checked(check_name))
    """Two rows may have the same name: two keys of one principal, while one replaces the other."""
    sha256: str = column(Checked(_sha256))
    """The hash of the whole key, in lower-case hex."""
    read: tuple[str, ...] = column(Repeated("GRANT", parse_grant), ())
    """Rooms, and prefixes that end in `*`."""
    publish: tuple[str, ...] = column(Repeated("GRANT", parse_grant), ())
    user: str | None = column(Checked(_user), None)
    """The only `user` that it may give its messages; None: any."""
    metrics: bool = column(Switch(), False)
    """Whether it may read `/metrics`."""
    admin: bool = column(Switch(), False)
    """Whether it may delete, revoke and list followers."""

    def __post_init__(self) -> None:
        """Raises `ValueError` if it has no rights."""
        if not (self.read or self.publish or self.metrics or self.admin):
            raise ValueError('may do nothing: give it read or publish, such as read = ["*"]')


def check_distinct(rows: tuple[Any, ...]) -> None:
    """Raises `ValueError` if two of the `rows` have the same key: its principal would depend on their order."""
    seen = set()
    for row in rows:
        if row.sha256 in seen:
            raise ValueError(f"{row.name!r} has the sha256 of another [[key]]: one key has one row")
        seen.add(row.sha256)
