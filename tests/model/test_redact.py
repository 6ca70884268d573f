"""Redaction of secrets."""

from __future__ import annotations

import pytest

from roomcast.model.redact import redacted, redacted_target

NAMES = ("ticket", "token", "access_token", "authorization", "auth", "jwt", "key", "password", "secret")


def percent(name: str) -> str:
    return "".join(f"%{ord(c):02x}" for c in name)


SHAPES = ("/x?{}=hidden", "/x?a=b&{}=hidden&c=3", "/x?a=b;{}=hidden", "/x?a=%3F{}%3Dhidden", "/x#{}=hidden")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", NAMES)
def test_a_target_shows_no_secret_however_its_name_is_spelled(name: str, shape: str) -> None:
    whole = (percent(name), percent(name.upper()), f"%{ord(name[0]):X}{name[1:]}")
    for spelled in (name, name.upper(), name.title(), *whole):
        shown = redacted_target(shape.format(spelled).encode())
        assert "hidden" not in shown
        assert spelled in shown


@pytest.mark.parametrize("value", ["a;b", "a%26b", "a=b", "a'b", "a#b", "a?b", "%00b", "a\x00b", ""])
def test_a_secret_is_redacted_to_its_end_and_the_rest_is_shown(value: str) -> None:
    assert redacted_target(f"/messages?ticket={value}&room=a".encode()) == "/messages?ticket=…&room=a"


@pytest.mark.parametrize("target", ["/x?room=a&monkey=b&ticketing=1&last_event_id=k7w2-5", "/token/key", "*"])
def test_text_that_is_not_secret_is_shown(target: str) -> None:
    assert redacted_target(target.encode()) == redacted_target(target.encode()) == target


def test_a_target_is_printable_ascii_and_of_1000_bytes_at_most() -> None:
    hostile = "/x?\x1b[2J\r\n\x85\u2028\u202e\u061c\x7f".encode() + b"\xff "
    assert redacted_target(hostile).isascii()
    assert redacted_target(hostile).isprintable()
    assert len(redacted_target(b"/" + b"x" * 60_000)) == 1_000


def test_a_secret_that_is_cut_off_or_follows_the_cut_is_not_shown() -> None:
    for length in range(980, 1_001):
        assert "hidden" not in redacted_target(b"/x?" + b"a" * (length - 20) + b"&%74icket=hidden")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET /x?%74icket=hidden HTTP/1.1", "GET /x?%74icket=… HTTP/1.1"),
        ("host=db password=hidden user=a", "host=db password=… user=a"),
        ("open(password='hid den', x=1)", "open(password=… x=1)"),
        ("Query(room='a', Token=\"hidden\")", "Query(room='a', Token=…"),
        ("Authorization: Bearer hidden\nHost: x", "Authorization: …\nHost: x"),
        ("cookie: a=hidden; b=hidden", "cookie: …"),
        (
            r"b'GET / HTTP/1.1\r\nCookie: a=\"hidden\"; b=hidden\r\nHost: x'",
            r"b'GET / HTTP/1.1\r\nCookie: …\r\nHost: x'",
        ),
        ("{'authorization': 'Bearer hidden', 'x': 1}", "{'authorization': …, 'x': 1}"),
        (r"[(b'cookie', b'a=\'hidden'), (b'x', b'1')]", "[(b'cookie', …), (b'x', b'1')]"),
        ("{'cookie': ['a=hidden', 'b=hidden'], 'x': 1}", "{'cookie': …, 'x': 1}"),
        ('{"password": "hid,den"}', '{"password": …}'),
        ("'Bearer hidden.123' is no token", "'Bearer …' is no token"),
    ],
)
def test_a_text_shows_no_secret(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text", ["a stream of key, token ended: client", "a basic mistake: a bearer token", "monkey=banana"]
)
def test_a_text_without_secrets_stays(text: str) -> None:
    assert redacted(text) == text


KEY = "rck_shop_" + "A" * 43


def test_our_credentials_are_hidden_under_any_name_and_without_one() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl"
    for secret in (KEY, "rct1_" + "A" * 99, "rct1%5F" + "A" * 99, token):
        for shown in (
            redacted_target(f"/messages?room=a&tickets={secret}&limit=1".encode()),
            redacted_target(f"/messages/{secret}?limit=1".encode()),
            redacted(f"illegal header line: b'X-Live: {secret}'"),
            redacted(f"{{'x': '{secret}', 'y': 1}}"),
        ):
            assert "AAA" not in shown
            assert "eyJ" not in shown
            assert "…" in shown
