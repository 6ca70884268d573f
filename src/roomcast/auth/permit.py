"""Whether somebody may do to these rooms what is asked for: all of it, or nothing."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from roomcast.auth.principal import Principal, Verb
from roomcast.model.errors import Fault, Forbidden, Invalid, RoomcastError, Unauthenticated
from roomcast.model.fields import ANONYMOUS

_NAMED = 100
"""Rooms that a refusal names at most."""
_DONE = {"read": "read", "publish": "published to"}
_UNSEEN = "has characters that nobody sees, so that it can be taken for another room: leave them out"


def permit(
    principal: Principal,
    verb: Verb,
    rooms: Sequence[str],
    place: str = "/room",
    prefixes: Sequence[str] = (),
    prefix_place: str = "/prefix",
) -> None:
    """Raises what refuses the request as a whole, naming each room that is not granted: `Unauthenticated` for a
    stranger, `Forbidden` for others, `Invalid` for a room to publish to that looks like another.

    `place` is the JSON pointer to a room in the request, and `prefix_place` to a prefix; `{}` in it stands for its
    number."""
    granted = principal.read if verb == "read" else principal.publish
    faults = [
        *(Fault(place.format(n), _refused(room, verb)) for n, room in enumerate(rooms) if room not in granted),
        *(
            Fault(prefix_place.format(n), _refused(f"{prefix}*", verb))
            for n, prefix in enumerate(prefixes)
            if not granted.covers_prefix(prefix)
        ),
    ]
    if faults:
        raise refusal(principal, faults[0].detail, faults[:_NAMED])
    if verb == "publish":
        _check_seen(rooms, place)


def require(principal: Principal, verb: Verb) -> None:
    """Raises `Unauthenticated` or `Forbidden` where there is nothing at all that they may do so: decided before a
    body is read."""
    if not principal.may(verb):
        raise refusal(principal, f"this credential gives no right to {verb}")


def refusal(principal: Principal, detail: str, faults: Sequence[Fault] = ()) -> RoomcastError:
    """The error for one who lacks a right. A stranger may have it with a credential."""
    if principal.kind == ANONYMOUS:
        return Unauthenticated("send a key, a ticket or a token as `Authorization: Bearer …`", faults)
    return Forbidden(detail, faults)


def _refused(room: str, verb: Verb) -> str:
    return f"{room} may not be {_DONE[verb]} with this credential"


def _check_seen(rooms: Iterable[str], place: str) -> None:
    faults = [Fault(place.format(n), _UNSEEN) for n, room in enumerate(rooms) if _has_unseen(room)]
    if faults:
        raise Invalid(f"{faults[0].pointer[1:]} {_UNSEEN}", faults[:_NAMED])


def _has_unseen(room: str) -> bool:
    return not room.isascii() and any(unicodedata.category(character) == "Cf" for character in room)
