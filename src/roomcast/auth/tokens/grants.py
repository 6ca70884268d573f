"""The grants of a token: those in its roomcast claim, and those that the templates of its issuer make from other
claims."""

from __future__ import annotations

import itertools
import logging
import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from roomcast.auth.tokens.bad import BadToken
from roomcast.auth.tokens.checks import name_of
from roomcast.model.near_miss import near_miss
from roomcast.model.settings.grant import parse_grant
from roomcast.model.settings.template import Template

MOST_GRANTS = 1_000
"""Maximum number of grants of one token."""
_LONGEST = 128
_NAMES = ("read", "publish", "user")
_SPECIAL = frozenset("/*{}")
"""Characters that a claim must not bring into a grant: they could make a name stand for other rooms, or for
many."""

logger: logging.Logger = logging.getLogger("roomcast.audit")


class RoomcastClaim(NamedTuple):
    """The content of a token's roomcast claim."""

    read: Sequence[str] = ()
    publish: Sequence[str] = ()
    user: str | None = None


def parse_claim(claim: object) -> RoomcastClaim:
    """The content of the roomcast `claim`. Raises `BadToken` if any part of it is invalid."""
    if not isinstance(claim, Mapping):
        raise BadToken("the claim for roomcast is not an object")
    for name in claim:
        if name not in _NAMES:
            meant = near_miss(name, _NAMES, 0.6)
            hint = f", did it mean {meant}?" if meant else ""
            raise BadToken(f"the claim for roomcast has {name!r:.40}{hint}")
    user = name_of(claim["user"], "user") if "user" in claim else None
    return RoomcastClaim(_grants(claim, "read"), _grants(claim, "publish"), user)


def check_count(read: Sequence[str], publish: Sequence[str]) -> None:
    """Raises `BadToken` if `read` and `publish` have more than `MOST_GRANTS` grants together."""
    _check_number(len(read) + len(publish))


def from_templates(templates: Sequence[Template], claims: Mapping[str, Any], sub: str) -> list[str]:
    """The grants that `templates` make of `claims`; a claim that is a list makes one for each element, and several
    lists one for each combination. An invalid value makes none and is logged, under `sub`. Raises `BadToken` for
    more than `MOST_GRANTS` grants, among which combinations that make an invalid one count, too: all are tried."""
    found: list[str] = []
    for template in templates:
        values = [_values(name, claims, sub) for name in template.claims]
        _check_number(len(found) + math.prod(map(len, values)))
        found += _filled(template, itertools.product(*values), sub)
    return found


def _check_number(grants: int) -> None:
    if grants > MOST_GRANTS:
        raise BadToken(
            f"it has more than {MOST_GRANTS} grants: grant prefixes such as team/*, or put less into its claims"
        )


def _filled(template: Template, chosen: Iterable[tuple[str, ...]], sub: str) -> list[str]:
    grants = [
        "".join(itertools.chain(*itertools.zip_longest(template.texts, values, fillvalue=""))) for values in chosen
    ]
    good = [grant for grant in grants if _is_grant(grant)]
    if len(good) < len(grants):
        _note(" and ".join(template.claims), "would make an invalid room name", sub)
    return good


def _is_grant(text: str) -> bool:
    try:
        return bool(parse_grant(text))
    except ValueError:
        return False


def _values(name: str, claims: Mapping[str, Any], sub: str) -> list[str]:
    value = _claim(name, claims)
    values = value if isinstance(value, list) else [value]
    wrong = [_wrong(each) for each in values]
    for why in sorted(set(filter(None, wrong))) if values else ["is empty"]:
        _note(name, why, sub)
    return [each for each, why in zip(values, wrong, strict=True) if not why]


def _claim(name: str, claims: Mapping[str, Any]) -> Any:
    """A claim by its name or by a dotted path: Keycloak has roles in `realm_access.roles`."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for step in name.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found


def _wrong(value: object) -> str:
    """Why a claim's value must not be used in a grant; empty if it may."""
    if value is None:
        return "is missing"
    if not isinstance(value, str):
        return "is neither a string nor a list of strings"
    if not value:
        return "is empty"
    if len(value) > _LONGEST:
        return f"has more than {_LONGEST} characters"
    if not _SPECIAL.isdisjoint(value):
        return "has one of / * { }"
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in value):
        return "has invisible characters"
    return ""


def _grants(claim: Mapping[str, Any], name: str) -> Sequence[str]:
    given = claim.get(name, [])
    if not isinstance(given, list) or not all(isinstance(grant, str) for grant in given):
        raise BadToken(f"{name} is not a list of strings")
    try:
        return [parse_grant(grant) for grant in given]
    except ValueError:
        raise BadToken(f"{name} has an invalid room name") from None


def _note(claim: str, why: str, sub: str) -> None:
    fields = {"claim": claim, "reason": why, "sub": sub}
    logger.info("a value of the claim %s of %r grants nothing: it %s", claim, sub, why, extra={"fields": fields})
