"""Tickets: what may be read and published, signed, for somebody who is given no key.

Nothing is stored: each server that has the secret takes them. A ticket's text is `rct1_` and the base64url of its
secret's id, the HMAC-SHA-256 of all the rest, and the content as JSON. It knows nothing of requests: whether an
address may open a stream *now* is decided where streams begin.
"""

from __future__ import annotations

import base64
import hmac
import math
import os
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Struct

from roomcast.auth.leeway import LEEWAY_SECONDS
from roomcast.auth.secrets import ID_LENGTH, Secret, Secrets

PREFIX: Final = "rct1_"
"""For scanners, and the version: another format has another prefix."""
OPENS_SECONDS = 60
"""How long a stream may be opened with a ticket in its URL, before it can only be resumed."""
MAX_CONTENT = 2048
"""Bytes of the content: with the rooms named a second time, an address must still be one that proxies take."""
_STANDARD = bytes.maketrans(b"-_+/", b"+/??")
"""From base64url to base64, where other spellings of the same letters are none."""
_ID_BYTES, _MAC_BYTES = ID_LENGTH * 3 // 4, 32
_MAX_TEXT = len(PREFIX) + math.ceil((_ID_BYTES + _MAC_BYTES + MAX_CONTENT) * 4 / 3)


class By(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """Who answers for somebody: a key of the configuration, or an issuer of tokens."""

    name: str
    """The key's name, or the issuer's `iss`."""
    digest: str = ""
    """Tells the keys of one name apart: the first half of its SHA-256. Empty for an issuer."""


class Ticket(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What one says. Times are seconds since 1970, without leeway."""

    by: By
    sub: str | None
    """Whom it was given to, as the application names them."""
    user: str
    """The `user` of what is published with it."""
    rooms: tuple[str, ...]
    prefixes: tuple[str, ...]
    publish: tuple[str, ...]
    """Rooms that it publishes to."""
    issued: int
    opens: int
    """Until when streams may be opened with it in a URL; later they can only be resumed."""
    ends: int
    nonce: str
    """Tells two tickets with the same content apart."""

    @property
    def until(self) -> int:
        """When it is refused from, with the leeway."""
        return self.ends + LEEWAY_SECONDS

    def may_open(self, now: float) -> bool:
        """Whether a stream that is no resume may be opened at this time with it in a URL."""
        return now < self.opens + LEEWAY_SECONDS


class BadTicket(Exception):
    """Why a ticket is refused: for the audit, not for its holder."""


class TicketEnded(BadTicket):
    """It was good, and is over: its holder may know."""


def seal(
    secrets: Secrets,
    by: By,
    *,
    rooms: Sequence[str] = (),
    prefixes: Sequence[str] = (),
    publish: Sequence[str] = (),
    sub: str | None = None,
    user: str = "anonymous",
    now: float,
    seconds: float,
) -> str:
    """A new ticket's text, signed with the first of `secrets`.

    `now` is seconds since 1970, and `seconds` is how long it is good. Whether `by` may give these rights away is
    the caller's to check. Raises `ValueError` where it would be too long, and `LookupError` without a secret."""
    issued = math.floor(now)
    ticket = Ticket(
        by=by,
        sub=sub,
        user=user,
        rooms=tuple(rooms),
        prefixes=tuple(prefixes),
        publish=tuple(publish),
        issued=issued,
        opens=issued + OPENS_SECONDS,
        ends=math.ceil(now + seconds),
        nonce=base64.urlsafe_b64encode(os.urandom(9)).decode(),
    )
    content = msgspec.json.encode(ticket)
    if len(content) > MAX_CONTENT:
        raise ValueError("a ticket for all these would be too long: ask for fewer rooms, or use a token")
    id = base64.urlsafe_b64decode(secrets.signing.id)
    return _text(id + _mac(secrets.signing, content) + content)


def unseal(text: str, secrets: Secrets, now: float) -> Ticket:
    """What a ticket says, where one of `secrets` signed it and it is not over; `now` is seconds since 1970.

    Raises `TicketEnded`, and `BadTicket` with why."""
    raw = _raw(text)
    id, mac, content = raw[:_ID_BYTES], raw[_ID_BYTES:][:_MAC_BYTES], raw[_ID_BYTES + _MAC_BYTES :]
    if not secrets:
        raise BadTicket("no secret is configured here")
    if (secret := secrets.named(base64.urlsafe_b64encode(id).decode())) is None:
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
    """The id of the secret that a good ticket is signed with."""
    return base64.urlsafe_b64encode(_raw(text)[:_ID_BYTES]).decode()


_DECODER = msgspec.json.Decoder(Ticket, strict=True)


def _mac(secret: Secret, content: bytes) -> bytes:
    return hmac.digest(secret.ticket_key, content, "sha256")


def _raw(text: str) -> bytes:
    """The bytes of one spelling only: base64 decoders skip what is no letter of theirs, and ignore the last bits
    where the length leaves some over, so that many texts would be one ticket."""
    coded = text.removeprefix(PREFIX)
    if len(text) > _MAX_TEXT or coded == text:
        raise BadTicket("malformed")
    try:
        standard = coded.encode().translate(_STANDARD)
        raw = a2b_base64(standard + b"=" * (-len(standard) % 4))
    except ValueError:
        raise BadTicket("malformed") from None
    if b2a_base64(raw, newline=False).rstrip(b"=") != standard:
        raise BadTicket("malformed")
    return raw


def _text(raw: bytes) -> str:
    return PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("=")
