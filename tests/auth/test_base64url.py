"""base64url in one spelling."""

from __future__ import annotations

import base64
import os

import pytest

from roomcast.auth import base64url


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 31, 32, 33])
def test_bytes_come_back_from_their_text(length: int) -> None:
    data = os.urandom(length)
    text = base64url.encode(data)
    assert text == base64.urlsafe_b64encode(data).decode().rstrip("=")
    assert base64url.decode(text) == data


@pytest.mark.parametrize("text", ["A", "AA=", "AA==", "AB", "AAB", "A A", "AA\n", "+/8", "é", "AAAAA", "-_+"])
def test_every_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        base64url.decode(text)
