"""Grants with claims in them: in `user/{sub}`, `{sub}` stands for the value of the token's claim."""

from __future__ import annotations

import re
from typing import NamedTuple

from roomcast.model.settings.grant import parse_grant

_CLAIM = re.compile(r"\{([^{}]+)\}")


class Template(NamedTuple):
    """A grant, split at its claims."""

    texts: tuple[str, ...]
    """The texts before, between and after the claims: one more than claims."""
    claims: tuple[str, ...]
    """The names of claims."""


def parse_template(text: str) -> str:
    """Returns `text` unchanged. Raises `ValueError`; its text continues a sentence that begins with the column."""
    template(text)
    return text


def template(text: str) -> Template:
    """Returns `text`, a grant, split at its claims. Raises `ValueError` as `parse_template` does."""
    pieces = _CLAIM.split(text)
    texts, claims = tuple(pieces[::2]), tuple(pieces[1::2])
    if any(brace in piece for piece in texts for brace in "{}"):
        raise ValueError(f"must have claims as {{name}}, not as in {text!r:.140}")
    parse_grant("x".join(texts))
    return Template(texts, claims)
