"""Grants as they are written: the name of a room, or a prefix of names followed by `*`."""

from __future__ import annotations

from roomcast.model.fields import check

ANY = "*"
"""Ends a prefix. The grant is for all rooms whose names begin with the prefix."""


def parse_grant(text: str) -> str:
    """Returns `text`, a grant, unchanged. Raises `ValueError`; its text continues a sentence that begins with the
    option or column."""
    if text != ANY and (wrong := check("room", text)):
        raise ValueError(f"must be a room, or a prefix that ends in {ANY}, not {text!r:.140}: a room {wrong}")
    return text
