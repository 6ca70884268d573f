"""The rights of requests without a credential: `read:public/*` as a flag, a table in the file. Limits are written
in the same way: `publish_rate:20/s`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from roomcast.model.settings.grant import parse_grant
from roomcast.model.settings.kinds import Kind, Repeated, described
from roomcast.model.settings.limits import LimitColumns, Quota

VERBS = ("read", "publish")
_LIMITS: Mapping[str, Kind] = {each.name: each.metadata["kind"] for each in dataclasses.fields(LimitColumns)}


class AnonymousGrants(Repeated):
    """Each text is a verb and a grant (`read:public/*`), or a limit and its value (`publish_rate:20/s`). A table
    has a list of grants for each verb, and a value for each limit."""

    def __init__(self) -> None:
        super().__init__("VERB:GRANT", _parse)

    def check(self, value: object) -> tuple[str, ...]:
        """Returns the texts of `value`, a list or a table. Raises `ValueError`."""
        if not isinstance(value, Mapping):
            return super().check(value)
        found: list[str] = []
        for name, given in value.items():
            if name not in VERBS and name not in _LIMITS:
                raise ValueError(f"may have {', '.join([*VERBS, *_LIMITS])}, not {described(name)}")
            try:
                found += _written(name, given)
            except ValueError as error:
                raise ValueError(f"{name} {error}") from None
        return tuple(found)


def grants_of(verb: str, anonymous: Iterable[str]) -> list[str]:
    """Returns the grants for one `verb` among the texts of `anonymous`, without their verb."""
    return [grant for own, _, grant in (text.partition(":") for text in anonymous) if own == verb]


def quota_of(anonymous: Iterable[str]) -> Quota:
    """Returns the quota of each address, by the texts of `anonymous`. If a limit is given twice, the last one
    applies."""
    pairs = (text.partition(":") for text in anonymous)
    given: dict[str, Any] = {name: _LIMITS[name].parse(value) for name, _, value in pairs if name in _LIMITS}
    return LimitColumns(**given).quota(0)


def _written(name: str, given: object) -> list[str]:
    """A table's entry as the flags that would give it. Raises `ValueError`."""
    if name in VERBS:
        return [f"{name}:{grant}" for grant in Repeated("GRANT", parse_grant).check(given)]
    _LIMITS[name].check(given)
    return [f"{name}:{given}"]


def _parse(text: str) -> str:
    name, colon, value = text.partition(":")
    if colon and name in VERBS:
        parse_grant(value)
    elif colon and name in _LIMITS:
        _LIMITS[name].parse(value)
    else:
        raise ValueError(
            "must be read:GRANT or publish:GRANT, such as read:public/*, or a limit such as publish_rate:20/s, "
            f"not {text!r:.140}"
        )
    return text
