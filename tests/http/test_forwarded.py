"""The client of a request behind proxies, whatever the headers claim."""

from __future__ import annotations

import time

import pytest

from roomcast.http.forwarded import Forwarded
from roomcast.model.settings import FORWARDED, X_FORWARDED_FOR, Settings

PROXIES = ("127.0.0.0/8", "::1", "10.0.0.0/8")
XFF = Forwarded(PROXIES, X_FORWARDED_FOR)
RFC7239 = Forwarded(PROXIES, FORWARDED)


@pytest.mark.parametrize(
    ("peer", "told", "client"),
    [
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("::1", "203.0.113.9", "203.0.113.9"),
        ("unix", "203.0.113.9", "203.0.113.9"),
        ("198.51.100.1", "203.0.113.9", "198.51.100.1"),  # a stranger's word
        ("", "203.0.113.9", ""),  # nobody knows who that was
        ("127.0.0.1", "6.6.6.6, 203.0.113.9", "203.0.113.9"),  # what the client wrote itself
        ("127.0.0.1", "6.6.6.6, 203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("127.0.0.1", "6.6.6.6,203.0.113.9,,10.1.2.3 , \t", "203.0.113.9"),
        ("127.0.0.1", "10.9.9.9, 10.1.2.3", "10.9.9.9"),  # a proxy's own request
        ("127.0.0.1", "2001:DB8::0:1", "2001:db8::1"),
        ("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("127.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("::ffff:127.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("fe80::1%eth0", "203.0.113.9", "fe80::1%eth0"),
        # Whatever is no address ends the search at the one who gave it.
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.9, unknown, 10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "203.0.113.9\x1b[31m", "127.0.0.1"),
        ("127.0.0.1", "fe80::1%\u00ad\u0085", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.999", "127.0.0.1"),
        ("127.0.0.1", "0203.0.113.9", "127.0.0.1"),
        ("127.0.0.1", "[203.0.113.9]x", "127.0.0.1"),
        ("127.0.0.1", "localhost", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", ",,,", "127.0.0.1"),
    ],
)
def test_the_client_is_the_last_address_that_is_not_a_trusted_proxy(peer: str, told: str, client: str) -> None:
    assert XFF.client_of(peer, {b"x-forwarded-for": told.encode("latin-1")}) == client


@pytest.mark.parametrize(
    ("peer", "told", "client"),
    [
        ("127.0.0.1", "for=203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", 'For="203.0.113.9:4711";Proto=HTTPS;by=10.1.2.3', "203.0.113.9"),
        ("127.0.0.1", 'for="[2001:db8::1]:_port" ; proto=http', "2001:db8::1"),
        ("127.0.0.1", "for=6.6.6.6;proto=http, for=203.0.113.9;proto=https", "203.0.113.9"),
        ("127.0.0.1", "for=203.0.113.9;proto=https, for=10.1.2.3;proto=http", "203.0.113.9"),
        ("127.0.0.1", r'for="203.0.113\.9";', "203.0.113.9"),
        ("198.51.100.1", "for=203.0.113.9;proto=https", "198.51.100.1"),
        # A client's quote that is not closed must not swallow what the proxy adds.
        ("127.0.0.1", 'for="6.6.6.6, for=203.0.113.9', "203.0.113.9"),
        ("127.0.0.1", 'for=6.6.6.6;x=", for="[2001:db8::1]"', "2001:db8::1"),
        ("127.0.0.1", "for=unknown;proto=https", "127.0.0.1"),
        ("127.0.0.1", "for=_hidden", "127.0.0.1"),
        ("127.0.0.1", "proto=https", "127.0.0.1"),
        ("127.0.0.1", "for=203.0.113.9;for=6.6.6.6", "127.0.0.1"),
        ("127.0.0.1", "for=203.0.113.9;proto=javascript", "203.0.113.9"),
        ("127.0.0.1", "for=203.0.113.9 for=6.6.6.6", "127.0.0.1"),
        ("127.0.0.1", "for", "127.0.0.1"),
        ("127.0.0.1", "203.0.113.9", "127.0.0.1"),
    ],
)
def test_the_header_forwarded_is_read_by_the_same_rules(peer: str, told: str, client: str) -> None:
    assert RFC7239.client_of(peer, {b"forwarded": told.encode("latin-1")}) == client


def test_only_the_header_that_was_chosen_is_read() -> None:
    values = {b"x-forwarded-for": b"6.6.6.6", b"forwarded": b"for=203.0.113.9"}
    assert (XFF.client_of("::1", values), RFC7239.client_of("::1", values)) == ("6.6.6.6", "203.0.113.9")


def test_without_the_header_the_client_is_the_peer() -> None:
    assert XFF.client_of("127.0.0.1", {b"content-length": b"7"}) == "127.0.0.1"


def test_loopback_is_trusted_by_default() -> None:
    values = {b"x-forwarded-for": b"203.0.113.9"}
    default = Forwarded(Settings().trusted_proxy, Settings().forwarded_header)
    nobody = Forwarded((), X_FORWARDED_FOR)
    assert [default.client_of(peer, values) for peer in ("127.8.8.8", "::1", "10.0.0.1")] == [
        "203.0.113.9",
        "203.0.113.9",
        "10.0.0.1",
    ]
    assert [nobody.client_of(peer, values) for peer in ("127.0.0.1", "unix")] == ["127.0.0.1", "203.0.113.9"]


@pytest.mark.parametrize("told", [b"10.1.2.3," * 7_000, b"," * 64_000, b'for="' * 12_000, b"1" * 64_000])
def test_a_header_of_any_length_costs_little_and_is_not_cached(told: bytes) -> None:
    began = time.process_time()
    for number in range(100):
        XFF.client_of(f"127.0.0.{number}", {b"x-forwarded-for": told + b"203.0.113.9"})
        RFC7239.client_of(f"127.0.0.{number}", {b"forwarded": told + b"for=203.0.113.9"})
    assert time.process_time() - began < 1


def test_a_truncated_address_is_not_mistaken_for_another() -> None:
    proxies = b", 10.1.2.3" * 60
    cut = 512 - len(proxies)
    for length in range(cut - 20, cut + 20):
        told = b"x" * max(0, length) + b", 203.0.113.9" + proxies
        assert XFF.client_of("127.0.0.1", {b"x-forwarded-for": told}) in ("10.1.2.3", "203.0.113.9")
