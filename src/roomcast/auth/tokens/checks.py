"""Checks of a token's header and claims that are the same for all issuers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from roomcast.auth.leeway import LEEWAY_SECONDS
from roomcast.auth.tokens.bad import BadToken, TokenExpired
from roomcast.model.fields import check

MOST_SECONDS = 30 * 24 * 3600
"""Longest time until the end of a token. A revocation is kept for a day more (`KEPT_MS`)."""


def algorithm_of(header: Mapping[str, Any]) -> str:
    """The `alg` of `header`, which may be any text. Raises `BadToken` if it is missing, or if the header has
    `crit` or `b64`, which are not supported."""
    if "crit" in header:
        raise BadToken("crit is not supported")
    if "b64" in header:
        raise BadToken("b64 is not supported")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise BadToken("alg is not a string")
    return algorithm


def kid_of(header: Mapping[str, Any]) -> str | None:
    """The `kid` of `header`; None if it has none. Raises `BadToken` if it is not a string."""
    kid = header.get("kid")
    if "kid" in header and not isinstance(kid, str):
        raise BadToken("kid is not a string")
    return kid


def until_of(claims: Mapping[str, Any], now: float) -> float:
    """When the token of these `claims` ends, with the leeway; this and `now` are seconds since 1970. Raises
    `TokenExpired` if that time has come, and `BadToken` if `exp` is missing or too far ahead, or if `nbf` or `iat`
    is in the future."""
    exp = _time(claims, "exp")
    if exp is None:
        raise BadToken("exp is missing")
    if exp > now + MOST_SECONDS + LEEWAY_SECONDS:
        raise BadToken("exp is more than 30 days ahead")
    for name in ("nbf", "iat"):
        begins = _time(claims, name)
        if name == "iat" and begins is not None and exp > begins + MOST_SECONDS + LEEWAY_SECONDS:
            # A revocation on the token's first day would be forgotten before its last day.
            raise BadToken("exp is more than 30 days after iat")
        if begins is not None and begins > now + LEEWAY_SECONDS:
            raise BadToken(f"{name} is in the future")
    if now >= exp + LEEWAY_SECONDS:
        raise TokenExpired("it has expired")
    return exp + LEEWAY_SECONDS


def issued_of(claims: Mapping[str, Any]) -> float | None:
    """The `iat` of `claims`, in seconds since 1970; None if there is none. Raises `BadToken` if it is not a
    time."""
    return _time(claims, "iat")


def sub_of(claims: Mapping[str, Any]) -> str:
    """The `sub` of `claims`. Raises `BadToken` if it is missing or not a valid user name."""
    if "sub" not in claims:
        raise BadToken("sub is missing")
    return name_of(claims["sub"], "sub")


def name_of(value: object, claim: str) -> str:
    """The `value` of `claim`, checked to be a valid user name. Raises `BadToken`."""
    if not isinstance(value, str) or check("user", value):
        raise BadToken(f"{claim} is not a string of 1 to 128 characters without control characters")
    return value


def check_audience(claims: Mapping[str, Any], audience: str | None) -> None:
    """Raises `BadToken` if `audience` is not in the `aud` of `claims`. An `audience` of None accepts every
    token."""
    given = claims.get("aud")
    if audience is None or given == audience or (isinstance(given, list) and audience in given):
        return
    raise BadToken("aud names somebody else" if "aud" in claims else "aud is missing")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadToken(f"{name} is not a number")
    try:
        value = float(value)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value) or value < 0:
        raise BadToken(f"{name} is not a time")
    return value
