"""Checks a request against the rights of its principal: the whole request is allowed, or none of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from roomcast.auth.grants import Grants
from roomcast.auth.principal import Principal, Verb
from roomcast.model.errors import Fault, Forbidden, Invalid, RoomcastError, Unauthenticated
from roomcast.model.fields import ANONYMOUS

_MAX_FAULTS = 100
"""Maximum number of faults in one error."""
_PARTICIPLES = {"read": "read", "publish": "published to"}
_INVISIBLE = "has invisible characters, so that it looks like another room: leave them out"


def permit(
    principal: Principal,
    verb: Verb,
    rooms: Sequence[str],
    place: str = "/room",
    prefixes: Sequence[str] = (),
    prefix_place: str = "/prefix",
) -> None:
    """Checks that `principal` may do `verb` in all `rooms` and in every room below `prefixes`.

    Raises an error that names each room that is not granted: `Unauthenticated` for an anonymous principal,
    `Forbidden` for others. Raises `Invalid` for publishing to a room whose name has invisible characters. `place`
    is the JSON pointer to a room in the request, and `prefix_place` to a prefix; `{}` in it stands for the
    index."""
    granted = principal.read if verb == "read" else principal.publish
    if prefixes or not all(map(granted.__contains__, rooms)):
        _check_granted(principal, granted, verb, rooms, place, prefixes, prefix_place)
    if verb == "publish" and not all(map(str.isascii, rooms)):
        _check_visible(rooms, place)


def _check_granted(
    principal: Principal,
    granted: Grants,
    verb: Verb,
    rooms: Sequence[str],
    place: str,
    prefixes: Sequence[str],
    prefix_place: str,
) -> None:
    faults = [
        *(Fault(place.format(n), _refused(room, verb)) for n, room in enumerate(rooms) if room not in granted),
        *(
            Fault(prefix_place.format(n), _refused(f"{prefix}*", verb))
            for n, prefix in enumerate(prefixes)
            if not granted.covers_prefix(prefix)
        ),
    ]
    if faults:
        raise refusal(principal, faults[0].detail, faults[:_MAX_FAULTS])


def require(principal: Principal, verb: Verb) -> None:
    """Raises `Unauthenticated` or `Forbidden` if `principal` does not have the right `verb` for anything at all.
    This is checked before a body is read."""
    if not principal.may(verb):
        raise refusal(principal, f"this credential gives no right to {verb}")


def refusal(principal: Principal, detail: str, faults: Sequence[Fault] = ()) -> RoomcastError:
    """The error for a `principal` that lacks a right: `Forbidden` with `detail` and `faults`. For an anonymous
    client it is `Unauthenticated` with the `faults`: once that client sends a credential, it may have the
    right."""
    if principal.kind == ANONYMOUS:
        return Unauthenticated("send a key, a ticket or a token as a bearer, in the header Authorization", faults)
    return Forbidden(detail, faults)


def _refused(room: str, verb: Verb) -> str:
    return f"{room} may not be {_PARTICIPLES[verb]} with this credential"


def _check_visible(rooms: Iterable[str], place: str) -> None:
    faults = [Fault(place.format(n), _INVISIBLE) for n, room in enumerate(rooms) if _has_invisible(room)]
    if faults:
        raise Invalid(f"{faults[0].pointer[1:]} {_INVISIBLE}", faults[:_MAX_FAULTS])


def _has_invisible(room: str) -> bool:
    return any(unicodedata.category(character) == "Cf" for character in room)
