"""Grants with claims in them: `user/{sub}`, where `{sub}` stands for what a token says."""

from __future__ import annotations

import re
from typing import NamedTuple

from roomcast.model.settings.grant import parse_grant

_CLAIM = re.compile(r"\{([^{}]+)\}")


class Template(NamedTuple):
    """A grant, in pieces."""

    texts: tuple[str, ...]
    """What stands before, between and behind the claims: one more than there are claims."""
    claims: tuple[str, ...]
    """The names of claims."""


def parse_template(text: str) -> str:
    """Returns the text unchanged. Raises `ValueError` with the end of a sentence that begins with where it
    stands."""
    template(text)
    return text


def template(text: str) -> Template:
    """The pieces. Raises `ValueError`, as `parse_template`."""
    pieces = _CLAIM.split(text)
    texts, claims = tuple(pieces[::2]), tuple(pieces[1::2])
    if any(brace in piece for piece in texts for brace in "{}"):
        raise ValueError(f"must have claims as {{name}}, not as in {text!r:.140}")
    parse_grant("x".join(texts))
    return Template(texts, claims)
