"""What requests without a credential may do: `read:public/*` as a flag, a table in the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from roomcast.model.settings.grant import parse_grant
from roomcast.model.settings.kinds import Repeated, shown

VERBS = ("read", "publish")


class AnonymousGrants(Repeated):
    """Grants with their verbs. A table has a list of grants for each verb."""

    def __init__(self) -> None:
        super().__init__("VERB:GRANT", _parse)

    def check(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, Mapping):
            return super().check(value)
        grants = Repeated("GRANT", parse_grant)
        found: list[str] = []
        for verb, given in value.items():
            if verb not in VERBS:
                raise ValueError(f"may have {' and '.join(VERBS)}, not {shown(verb)}")
            try:
                found += [f"{verb}:{grant}" for grant in grants.check(given)]
            except ValueError as error:
                raise ValueError(f"{verb} {error}") from None
        return tuple(found)


def granted(verb: str, anonymous: Iterable[str]) -> list[str]:
    """The grants for one verb."""
    return [grant for own, _, grant in (text.partition(":") for text in anonymous) if own == verb]


def _parse(text: str) -> str:
    verb, colon, grant = text.partition(":")
    if verb not in VERBS or not colon:
        raise ValueError(f"must be read:GRANT or publish:GRANT, such as read:public/*, not {text!r:.140}")
    parse_grant(grant)
    return text
