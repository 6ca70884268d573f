"""A credential is read from a header."""

from __future__ import annotations

import base64

import pytest

from roomcast.auth.credentials import kind_of, of_authorization, of_cookie, of_pair
from roomcast.model.errors import BadCredential, InvalidToken


def basic(pair: str | bytes) -> bytes:
    return b"Basic " + base64.b64encode(pair.encode() if isinstance(pair, str) else pair)


@pytest.mark.parametrize(
    ("value", "credential"),
    [
        (b"Bearer rck_shop_abc", "rck_shop_abc"),
        (b"bearer x", "x"),
        (b"BEARER   x ", "x"),
        (b"Bearer eyJ.eyJ.sig-_", "eyJ.eyJ.sig-_"),
        (b"Bearer abc==", "abc=="),
        (basic("anybody:rck_shop_abc"), "rck_shop_abc"),
        (basic(":rck_shop_abc"), "rck_shop_abc"),
        (basic("a:b:c"), "b:c"),
        (basic("ü:pässwort"), "pässwort"),
        (b"bAsIc  " + base64.b64encode(b"a:b"), "b"),
        (b"Bearer " + b"x" * 8185, "x" * 8185),
    ],
)
def test_a_bearer_or_the_password_of_basic_is_the_credential(value: bytes, credential: str) -> None:
    assert of_authorization(value) == credential


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (b"", "cannot be read"),
        (b"Bearer", "cannot be read"),
        (b"Bearer ", "cannot be read"),
        (b"rck_shop_SECRET", "cannot be read"),
        (b"Bearer a SECRET", "cannot be read"),
        (b"Bearer\tSECRET", "cannot be read"),
        (b"Bearer S\xc3\xa9CRET", "cannot be read"),
        (b"Bearer =SECRET", "cannot be read"),
        (b'Bearer "SECRET"', "cannot be read"),
        (b"Bearer SECRET\x00", "cannot be read"),
        (b"Bearer SECRET, Bearer SECRET", "given twice"),
        (b"Bearer SECRET,", "given twice"),
        (b"Digest SECRET", "this scheme"),
        (b"Negotiate SECRET", "this scheme"),
        (b"Basic SECRET!", "cannot be read"),
        (b"Basic SECRE", "base64 of USER:PASSWORD"),
        (basic(b"a:\xff"), "in UTF-8"),
        (basic("SECRET"), "has a key as its password"),
        (basic("SECRET:"), "has a key as its password"),
        (b"Bearer " + b"x" * 8186, "at most 8 KiB"),
    ],
)
def test_an_invalid_header_is_refused_and_not_shown(value: bytes, words: str) -> None:
    with pytest.raises(BadCredential) as raised:
        of_authorization(value)
    assert words in raised.value.detail
    assert "SECRE" not in raised.value.detail


def test_the_kind_of_a_credential_is_told_by_its_first_letters() -> None:
    assert kind_of("rck_shop_x") == "key"
    assert kind_of("rct1_x") == "ticket"
    assert kind_of("rct2_x") == "ticket"
    assert kind_of("eyJ.a.b") == "token"
    assert kind_of("") == "token"


def test_a_cookie_or_ticket_has_the_same_size_limit() -> None:
    assert of_pair(b"cookie=" + b"x" * 8192) == "x" * 8192
    with pytest.raises(BadCredential):
        of_pair(b"cookie=" + b"x" * 8193)


COOKIES = {
    b"tok=x": b"x",
    b"a=b; tok=x; c=d": b"x",
    b"a=b;tok=x;c=d": b"x",
    b" tok\t= x \t;": b"x",
    b"tok=x=y": b"x=y",
    b"tok=": b"",
    b"tok": b"",
    b"a; tok ;b": b"",
    b"a=tok; xtok=1; tokx=2; x tok=3": None,
    b"a=tok": None,
    b"Tok=x": None,
    b"": None,
}


@pytest.mark.parametrize(("header", "value"), COOKIES.items())
def test_a_cookie_is_found_by_its_whole_name(header: bytes, value: bytes | None) -> None:
    assert of_cookie(header, b"tok") == value


@pytest.mark.parametrize("header", [b"tok=x; tok=y", b"tok=x;tok=x", b"tok;tok=x", b"tok=;a=b; tok"])
def test_a_cookie_that_was_sent_twice_is_refused(header: bytes) -> None:
    with pytest.raises(InvalidToken) as raised:
        of_cookie(header, b"tok")
    assert raised.value.reason == "the cookie is given twice"
