"""The fields of a request's head, and the ticket in its target, whichever way the request came in.

Some fields decide what a request means, and many requests share them. Others are a request's own. All others are
ignored.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from roomcast.model.errors import HeadTooLarge

MAX_FIELDS: Final = 128
"""Maximum number of fields in a head. h11 takes 5 us for each, so 10,000 short ones in 64 KiB took 50 ms of one
turn of the loop. Browsers behind two proxies send some 40."""

DECIDES: Final = frozenset({
    b"accept", b"connection", b"content-encoding", b"content-type", b"expect", b"host", b"origin",
    b"transfer-encoding", b"upgrade",
})  # fmt: skip
"""Fields that many requests share, and that decide what the request means."""
OWN: Final = frozenset({
    b"access-control-request-headers", b"authorization", b"content-length", b"cookie", b"forwarded",
    b"idempotency-key", b"if-none-match",
    b"last-event-id", b"sec-fetch-mode", b"sec-fetch-site", b"user-agent", b"x-forwarded-for",
    b"x-forwarded-proto", b"x-real-ip",
})  # fmt: skip
"""Fields that are a request's own."""

_TICKET = string.ascii_letters.encode() + string.digits.encode() + b"-_"
"""The characters of a ticket."""


def cut_ticket(target: bytes) -> tuple[bytes, bytes | None]:
    """`target` without the ticket in its query, and the ticket, percent-decoded; None if there is none.
    Several are joined by commas, as fields are. So no ticket is ever cached, logged or sent back."""
    if b"ticket=" not in target:
        return target, None
    before, _, ticket = target.partition(b"ticket=")
    plain = b"?" in before and b"#" not in before and not ticket.translate(None, _TICKET)
    if plain and before.endswith((b"&", b"?")):
        return before.removesuffix(b"&"), ticket  # one ticket at the end, as in our own URLs
    path, mark, query = target.partition(b"?")
    pairs = query.partition(b"#")[0].split(b"&")
    tickets = [unquote_to_bytes(pair[7:]) for pair in pairs if pair.startswith(b"ticket=")]
    if not tickets:
        return target, None
    others = b"&".join([pair for pair in pairs if not pair.startswith(b"ticket=")])
    return path + mark + others, b", ".join(tickets)


def split_fields(pairs: Iterable[tuple[bytes, bytes]]) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """The header fields `pairs`, whose names are in lower case: those that decide, and a request's own. Repeated
    fields are joined by commas (RFC 9110, section 5.3); unknown ones are left out."""
    decides: dict[bytes, bytes] = {}
    own: dict[bytes, bytes] = {}
    for name, value in pairs:
        fields = decides if name in DECIDES else own if name in OWN else None
        if fields is not None:
            joined = b"; " if name == b"cookie" else b", "  # RFC 9113, section 8.2.3
            fields[name] = fields[name] + joined + value if name in fields else value
    return decides, own


def too_many_fields() -> HeadTooLarge:
    """The error for a head with too many fields."""
    return HeadTooLarge(f"it may have {MAX_FIELDS} fields: send fewer, or let your proxy add fewer")
