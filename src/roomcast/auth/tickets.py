"""Tickets: signed rights to read and publish, for a client that is given no key.

Nothing is stored: every server with the secret accepts them. A ticket's text is `rct1_` and the base64url of its
secret's id, the HMAC-SHA-256 of the content, and the content as JSON. This module knows no requests: `Guard`
decides whether a ticket in a URL may still open a stream.
"""

from __future__ import annotations

import hmac
import math
import os
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from roomcast.auth import base64url
from roomcast.auth.leeway import LEEWAY_SECONDS
from roomcast.auth.secrets import ID_LENGTH, Secret, Secrets

PREFIX: Final = "rct1_"
"""Lets scanners recognize tickets, and gives the version: another format has another prefix."""
OPENS_SECONDS = 60
"""How long a ticket in a URL opens streams; after that it only resumes them."""
MAX_CONTENT = 2048
"""Bytes of the content. A URL names the rooms a second time, and must stay short enough for proxies."""
_ID_BYTES, _MAC_BYTES = ID_LENGTH * 3 // 4, 32


class Grantor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The key of the configuration, or the issuer of tokens, that a client's rights come from."""

    name: str
    """The key's name, or the issuer's `iss`."""
    digest: str = ""
    """The first half of the key's SHA-256, which tells keys of one name apart. Empty for an issuer."""


class Ticket(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """The content of a ticket. Times are seconds since 1970, without leeway."""

    grantor: Grantor
    sub: str | None
    """Its holder, as the application names them; None if it names none."""
    user: str
    """The `user` of messages published with it."""
    rooms: tuple[str, ...]
    prefixes: tuple[str, ...]
    publish: tuple[str, ...]
    """Rooms that it publishes to."""
    issued: int
    opens: int
    """Until when it opens streams if it is in a URL; after that it only resumes them."""
    ends: int
    nonce: str
    """Tells two tickets with the same content apart."""

    @property
    def until(self) -> int:
        """The time from which it is refused: its end plus the leeway."""
        return self.ends + LEEWAY_SECONDS

    def may_open(self, now: float) -> bool:
        """Whether it may open a new stream from a URL at `now`, in seconds since 1970."""
        return now < self.opens + LEEWAY_SECONDS


class BadTicket(Exception):
    """The ticket is refused. Its text says why, for the audit log and not for the holder."""


class TicketEnded(BadTicket):
    """The ticket was valid and has expired; its holder is told so."""


def seal(
    secrets: Secrets,
    grantor: Grantor,
    *,
    rooms: Sequence[str] = (),
    prefixes: Sequence[str] = (),
    publish: Sequence[str] = (),
    sub: str | None = None,
    user: str = "anonymous",
    now: float,
    seconds: float,
) -> str:
    """The text of a new ticket, signed with the first of `secrets`, for reading `rooms` and all rooms below
    `prefixes`, and for publishing to the rooms in `publish`.

    `sub` is its holder, None if they have no name, and `user` the user of their messages. `now` is seconds since
    1970, and `seconds` is how long the ticket is valid. The caller checks that `grantor` may grant these rights.
    Raises `ValueError` if the ticket would be too long, and `LookupError` without a secret."""
    issued = math.floor(now)
    ticket = Ticket(
        grantor=grantor,
        sub=sub,
        user=user,
        rooms=tuple(rooms),
        prefixes=tuple(prefixes),
        publish=tuple(publish),
        issued=issued,
        opens=issued + OPENS_SECONDS,
        ends=math.ceil(now + seconds),
        nonce=base64url.encode(os.urandom(9)),
    )
    content = msgspec.json.encode(ticket)
    if len(content) > MAX_CONTENT:
        raise ValueError("a ticket for all these would be too long: ask for fewer rooms, or use a token")
    id = base64url.decode(secrets.signing.id)
    return _text(id + _mac(secrets.signing, content) + content)


def unseal(text: str, secrets: Secrets, now: float) -> Ticket:
    """The content of the ticket `text`, which one of `secrets` has signed; `now` is seconds since 1970.

    Raises `TicketEnded` if it has expired, and `BadTicket` with the reason if it is invalid."""
    raw = _raw(text)
    id, mac, content = raw[:_ID_BYTES], raw[_ID_BYTES:][:_MAC_BYTES], raw[_ID_BYTES + _MAC_BYTES :]
    if not secrets:
        raise BadTicket("no secret is configured here")
    if (secret := secrets.get(base64url.encode(id))) is None:
        raise BadTicket("unknown secret")
    if not hmac.compare_digest(mac, _mac(secret, content)):
        raise BadTicket("wrong signature")
    try:
        ticket = _DECODER.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadTicket("malformed content") from None
    if ticket.issued > now + LEEWAY_SECONDS:
        raise BadTicket("issued in the future")
    if now >= ticket.until:
        raise TicketEnded("expired")
    return ticket


def signer(text: str) -> str:
    """The id of the secret that signed the ticket `text`, which must be valid."""
    return base64url.encode(_raw(text)[:_ID_BYTES])


_DECODER = msgspec.json.Decoder(Ticket, strict=True)


def _mac(secret: Secret, content: bytes) -> bytes:
    return hmac.digest(secret.ticket_key, content, "sha256")


def _raw(text: str) -> bytes:
    """The bytes of a ticket. Raises `BadTicket`."""
    coded = text.removeprefix(PREFIX)
    if coded == text:
        raise BadTicket("malformed")
    try:
        return base64url.decode(coded)
    except ValueError:
        raise BadTicket("malformed") from None


def _text(raw: bytes) -> str:
    return PREFIX + base64url.encode(raw)
