"""Origins that are accepted, and the errors for all others."""

from __future__ import annotations

import pytest

from roomcast.model.settings.origin import parse_origin


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "https://example.com",
        "http://localhost:3000",
        "http://127.0.0.1:8080",
        "http://[::1]:3000",
        "https://xn--grsse-kua.example",
        "capacitor://localhost",
        "chrome-extension://abcdefghijklmnop",
    ],
)
def test_an_origin_as_browsers_send_it_is_taken(origin: str) -> None:
    assert parse_origin(origin) == origin


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("example.com", "https://example.com"),
        ("//example.com", "https://example.com"),
        ("example.com:8443", "https://example.com:8443"),
        ("localhost", "http://localhost"),
        ("localhost:3000", "http://localhost:3000"),
        ("127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("https://example.com/", "https://example.com"),
        ("https://example.com/chat?x=1#y", "https://example.com"),
        ("https://example.com?", "https://example.com"),
        ("https://Example.COM", "https://example.com"),
        ("HTTPS://example.com", "https://example.com"),
        ("https://example.com:443", "https://example.com"),
        ("http://example.com:80", "http://example.com"),
        ("https://größe.example", "https://xn--gre-6ka8i.example"),
    ],
)
def test_an_origin_in_another_form_is_refused_with_the_form_that_was_meant(given: str, meant: str) -> None:
    with pytest.raises(ValueError, match="must be") as raised:
        parse_origin(given)
    assert str(raised.value).endswith(f"did you mean {meant}?")


@pytest.mark.parametrize(
    "given",
    [
        "null",
        "",
        "https://",
        "https://*.example.com",
        "https://user@example.com",
        "https://a.example,https://b.example",
        "https://example.com:99999",
        "https://example.com:port",
        "http://[::1",
        "https://a b",
        "**",
        "https://\udcff.example",
    ],
)
def test_text_that_is_not_an_origin_is_refused_without_a_guess(given: str) -> None:
    with pytest.raises(ValueError, match=r"^must be \* or an origin such as https://example.com") as raised:
        parse_origin(given)
    assert "did you mean" not in str(raised.value)
