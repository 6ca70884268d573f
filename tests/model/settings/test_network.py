"""Addresses and networks that are accepted, and the errors for all others."""

from __future__ import annotations

import pytest

from roomcast.model.settings.network import parse_network


@pytest.mark.parametrize("text", ["10.0.0.7", "10.0.0.0/8", "10.0.0.0/255.0.0.0", "::1", "2001:db8::/32", "::/80"])
def test_an_address_or_a_network_is_taken(text: str) -> None:
    assert parse_network(text) == text


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("10.0.0.7/8", ": did you mean 10.0.0.0/8?"),
        ("2001:db8::1/32", ": did you mean 2001:db8::/32?"),
        ("::ffff:10.0.0.7", ": did you mean 10.0.0.7/32?"),
        ("::ffff:10.0.0.0/104", ": did you mean 10.0.0.0/8?"),
        ("::ffff:0:0/96", ": did you mean 0.0.0.0/0?"),
        ("localhost", ""),
        ("10.0.0", ""),
        ("10.0.0.7:8080", ""),
        ("10.0.0.0/33", ""),
        ("*", ""),
        ("7", ""),
    ],
)
def test_anything_else_is_refused_with_the_network_that_was_meant(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match="must be an address or network such as") as raised:
        parse_network(text)
    assert str(raised.value).endswith(f"not {text!r}{hint}")
