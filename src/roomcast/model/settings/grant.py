"""Grants as they are written: the name of a room, or the beginning of names and `*`."""

from __future__ import annotations

from roomcast.model.fields import check

ANY = "*"
"""Ends a grant of all rooms whose names begin with what stands before it."""


def parse_grant(text: str) -> str:
    """Returns the grant unchanged. Raises `ValueError` with the end of a sentence that begins with where it
    stands."""
    if text != ANY and (wrong := check("room", text)):
        raise ValueError(f"must be a room, or a prefix that ends in {ANY}, not {text!r:.140}: a room {wrong}")
    return text
