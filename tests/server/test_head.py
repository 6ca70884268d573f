"""A request's head, parsed once: what is plain, and what is left to uvicorn."""

from __future__ import annotations

import gc

import pytest

from roomcast.http.head import Head, parse
from tests.raw import post, request

HEAD = post(b"{}")[:-2]
FOLLOW = request("GET", "/messages?room=a")


def test_a_plain_head_says_all_there_is_to_know() -> None:
    head = parse(HEAD)
    assert head
    assert (head.method, head.target, head.length, head.keep_alive) == (b"POST", b"/messages", 2, True)
    assert head.fields[b"content-type"] == b"application/json"


def test_a_head_without_a_body_has_no_length() -> None:
    head = parse(FOLLOW)
    assert head
    assert (head.method, head.target, head.length) == (b"GET", b"/messages?room=a", 0)


def test_who_asks_to_close_is_not_kept() -> None:
    head = parse(_with(b"Connection: close"))
    assert head
    assert not head.keep_alive


@pytest.mark.parametrize(
    "data",
    [
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        HEAD.replace(b"Host:", b"Hosts:"),
        HEAD.replace(b"POST", b"NOTHING"),
        HEAD.replace(b"Content-Length: 2", b"Content-Length: two"),
        HEAD[:-2],
        HEAD[:3],
        b"\r\n\r\n",
    ],
    ids=["HTTP/1.0", "no host", "no method", "no length", "no end", "three bytes", "nothing"],
)
def test_what_is_not_plain_is_nothing(data: bytes) -> None:
    assert parse(data) is None


@pytest.mark.parametrize(
    "field",
    [
        b"Host: b.example",
        b"Content-Length: 2",
        b"X-Twice: 1\r\nx-twice: 1",
        b"Expect: 100-continue",
        b"Transfer-Encoding: chunked",
        b"Connection: upgrade\r\nUpgrade: h2c",
        b"no colon",
    ],
)
def test_a_field_that_leaves_something_to_be_decided_is_nothing(field: bytes) -> None:
    assert parse(_with(field)) is None


def test_parsing_leaves_no_garbage_to_be_collected() -> None:
    gc.collect()
    for _ in range(10):
        parse(HEAD)
        parse(b"\0\r\n\r\n")
    assert gc.collect() == 0


def _with(field: bytes) -> bytes:
    assert isinstance(parse(HEAD), Head)
    return HEAD.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n")
