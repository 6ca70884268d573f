"""The name of the cookie that holds a credential."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}", re.ASCII)


def parse_cookie_name(text: str) -> str:
    """Returns a cookie's name (RFC 6265, section 4.1.1) unchanged. Raises `ValueError`; its text continues a
    sentence that begins with the option."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            "must be a cookie's name, 1 to 100 letters, digits and some signs, such as __Host-roomcast, "
            f"not {text!r:.120}"
        )
    return text
