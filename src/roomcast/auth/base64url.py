"""base64url without padding (RFC 4648, section 5). Each sequence of bytes has exactly one accepted text.

Usual decoders skip unknown letters and ignore spare bits at the end: many texts would be the same ticket.
"""

from __future__ import annotations

import base64
from binascii import a2b_base64, b2a_base64

_STANDARD = bytes.maketrans(b"-_+/", b"+/??")
"""From base64url to base64. The letters of plain base64 become invalid."""


def encode(data: bytes) -> str:
    """The one text of `data`, which `decode` turns back into the same bytes."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The bytes of `text`. Raises `ValueError` for every text that `encode` does not make."""
    standard = text.encode("ascii").translate(_STANDARD)
    data = a2b_base64(standard + b"=" * (-len(standard) % 4))
    if b2a_base64(data, newline=False).rstrip(b"=") != standard:
        raise ValueError("not the accepted spelling of these bytes")
    return data
