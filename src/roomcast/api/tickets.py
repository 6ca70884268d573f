"""`POST /tickets`: a ticket for a client without a key, such as a page."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from roomcast.api import json_object
from roomcast.api.answer import JSON, Answer
from roomcast.api.query import MAX_ROOMS
from roomcast.api.request import Head, Request
from roomcast.auth import permit as rights
from roomcast.auth.credentials import EXPIRED
from roomcast.auth.leeway import LEEWAY_SECONDS
from roomcast.auth.principal import Principal
from roomcast.auth.tickets import OPENS_SECONDS, seal
from roomcast.delivery.engine import Engine
from roomcast.model.errors import Fault, Forbidden, Invalid, InvalidToken, NotOffered
from roomcast.model.fields import ANONYMOUS, check
from roomcast.model.refusal import invalid
from roomcast.model.settings.grant import ANY

MAX_SECONDS = 24 * 3600
"""Longest validity of a ticket, in seconds."""
_NO_SECRET = "tickets are signed with a secret: give one with --secret-file FILE, or in a program as secret_files"
_EXAMPLE = '{"rooms": ["user/42"], "seconds": 3600}'

logger = logging.getLogger("roomcast.audit")


class TicketRequest(NamedTuple):
    """The requested ticket."""

    rooms: Sequence[str] = ()
    prefixes: Sequence[str] = ()
    publish: Sequence[str] = ()
    sub: str | None = None
    user: str | None = None
    seconds: int = 3600


def check_head(head: Head) -> None:
    """Raises `UnsupportedMediaType` unless `head` declares the body as JSON."""
    json_object.check_type(head, _EXAMPLE)


def check_client(request: Request) -> None:
    """Raises an error if the client of `request` cannot get any ticket: `Unauthenticated` without a credential,
    `Forbidden` with a ticket or with rights from a host, and `NotOffered` if the server has no secret to sign
    with."""
    principal = request.principal
    if request.guard.checks_credentials and principal.grantor is None:
        raise rights.refusal(principal, "tickets are given to keys and tokens")
    if principal.ticket is not None:
        raise Forbidden("a ticket gives no tickets: ask with the key or the token")
    if principal.grantor is None or not request.guard.rights.secrets:
        raise NotOffered(_NO_SECRET)


def issue(engine: Engine, request: Request, parsed: None) -> Answer:
    """`POST /tickets`: issues the ticket that the body of `request` asks for, with at most the rights of its
    client. `engine` and `parsed` are not used. Raises `Malformed`, `Invalid`, `Forbidden` and `InvalidToken`."""
    principal, secrets = request.principal, request.guard.rights.secrets
    assert principal.grantor is not None, "check_client has let nobody else in"
    now = time.time()
    wanted = _limited_to_token(principal, _wanted(request.body, principal), now)
    user = _permitted_user(principal, wanted)
    try:
        ticket = seal(secrets, principal.grantor, **wanted._asdict() | {"user": user, "now": now})
    except ValueError as error:
        raise Invalid(str(error), [Fault("/rooms", str(error))]) from None
    _log_ticket(principal, wanted)
    return _answer(request, wanted, ticket)


def _limited_to_token(principal: Principal, wanted: TicketRequest, now: float) -> TicketRequest:
    """A ticket for a token has the token's `sub`, and ends no later than the token. Raises `Forbidden`, and
    `InvalidToken` for a token that only the leeway keeps valid."""
    if principal.until is None:
        return wanted
    if wanted.sub != principal.sub:
        detail = f"must be {principal.sub}, or left out"
        raise Forbidden(f"sub {detail}", [Fault("/sub", detail)])
    left = math.floor(principal.until - LEEWAY_SECONDS - now)
    if left < 1:
        raise InvalidToken(EXPIRED, reason="the token has expired; the leeway does not allow a new ticket")
    return wanted._replace(seconds=min(wanted.seconds, left))


def _permitted_user(principal: Principal, wanted: TicketRequest) -> str:
    """The `user` of messages published with the ticket. Raises `Forbidden` for rights that the client lacks."""
    rights.permit(principal, "read", wanted.rooms, "/rooms/{}", wanted.prefixes, "/prefixes/{}")
    rights.permit(principal, "publish", wanted.publish, "/publish/{}")
    if principal.user is None or wanted.user in (None, principal.user):
        return wanted.user or principal.user or ANONYMOUS
    detail = f"must be {principal.user}, or left out"
    raise Forbidden(f"user {detail}", [Fault("/user", detail)])


def _answer(request: Request, wanted: TicketRequest, ticket: str) -> Answer:
    body = {"ticket": ticket, "opens_in": OPENS_SECONDS, "ends_in": wanted.seconds}
    rooms = [("room", room) for room in wanted.rooms] + [("prefix", prefix) for prefix in wanted.prefixes]
    if rooms:
        query = urlencode([*rooms, ("ticket", ticket)])
        body["url"] = f"{quote(request.head.mount)}/messages?{query}"
    return Answer(201, JSON, msgspec.json.encode(body))


def _log_ticket(principal: Principal, wanted: TicketRequest) -> None:
    rooms = [*wanted.rooms, *(prefix + ANY for prefix in wanted.prefixes)]
    fields = {"by": principal.name, "sub": wanted.sub, "read": rooms, "publish": wanted.publish}
    text = f"a ticket for {', '.join([*rooms, *wanted.publish])}, by {principal.name}"
    logger.info("%s", text, extra={"fields": fields})


# The body


def _wanted(body: bytes, asker: Principal) -> TicketRequest:
    """Parses the body. Raises `Malformed`, and `Invalid` naming each wrong field."""
    wanted = TicketRequest(**json_object.read(body, _READ, _EXAMPLE))
    if wanted.sub is None:
        wanted = wanted._replace(sub=asker.sub)
    if faults := _missing(wanted):
        raise invalid(faults)
    return wanted


def _missing(wanted: TicketRequest) -> list[Fault]:
    if not (wanted.rooms or wanted.prefixes or wanted.publish):
        return [Fault("/rooms", f"is missing: name what may be read, as in {_EXAMPLE}")]
    if wanted.publish and wanted.sub is None:
        return [Fault("/sub", "is missing: a ticket that may publish must name its holder")]
    if len(wanted.rooms) + len(wanted.prefixes) > MAX_ROOMS:
        return [Fault("/rooms", f"are more than {MAX_ROOMS} with the prefixes: a stream may follow no more")]
    return []


def _names(kind: str) -> Callable[[object], list[str]]:
    def read(value: object) -> list[str]:
        if not isinstance(value, list) or len(value) > 1_000:
            raise ValueError("must be a list of at most 1,000 names")
        for name in value:
            _check_name(name, kind)
        return list(dict.fromkeys(value))

    return read


def _check_name(name: object, kind: str) -> None:
    if kind == "prefix" and name == "":
        return
    if wrong := check("room", name):
        raise ValueError(f"must hold names of rooms: {name!r:.140} {wrong}")
    if isinstance(name, str) and name.endswith(ANY):
        raise ValueError(f"must hold exact names, without a * at the end; {name!r:.140} may belong in prefixes")


def _user(value: object) -> str | None:
    if value is not None and (wrong := check("user", value)):
        raise ValueError(wrong)
    return value if isinstance(value, str) else None


def _seconds(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number: some encoders write 3600.0 for 3600
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SECONDS:
        raise ValueError(f"must be a whole number from 1 to {MAX_SECONDS}")
    return value


_READ: json_object.Readers = {
    "rooms": _names("room"),
    "prefixes": _names("prefix"),
    "publish": _names("room"),
    "sub": _user,
    "user": _user,
    "seconds": _seconds,
}
