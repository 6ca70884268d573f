"""The bounds of a request that h11 leaves open, for bytes that arrive at once and byte by byte."""

from __future__ import annotations

from typing import Any

import h11
import pytest

from roomcast.http.context import HEAD_BYTES
from roomcast.http.head_fields import MAX_FIELDS
from roomcast.http.request_parser import RequestParser, TooManyFields, error_of
from roomcast.model.errors import HeadTooLarge, NotHttp, RoomcastError, UnknownCoding

HEAD = b"POST /messages HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def parsed(data: bytes, size: int) -> list[Any]:
    """The events of a request that arrives in pieces of this size, or of a slice if they are larger."""
    parser, events = RequestParser(), []
    while True:
        event = parser.next_event()
        if event is not h11.NEED_DATA:
            events.append(event)
        elif not data:
            return events
        else:
            piece = data[: min(size, parser.slice)]
            parser.receive(piece)
            data = data[len(piece) :]
        if isinstance(event, h11.EndOfMessage):
            return events


SIZES = pytest.mark.parametrize("size", [1, 7, 10**6])


@SIZES
def test_a_request_is_read_to_its_end(size: int) -> None:
    request, *data, end = parsed(CHUNKED + b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", size)
    assert (request.method, request.target) == (b"POST", b"/messages")
    assert b"".join(bytes(event.data) for event in data) == b"abc"
    assert isinstance(end, h11.EndOfMessage)


@SIZES
@pytest.mark.parametrize(
    ("data", "error"),
    [
        (HEAD + b"A: b\r\n" * MAX_FIELDS + b"\r\n", TooManyFields),
        (HEAD + b"A: b\n" * (MAX_FIELDS + 1), TooManyFields),
        (CHUNKED + b"0\r\n" + b"A: b\r\n" * 4 * MAX_FIELDS, TooManyFields),
        (b"\x16\x03\x01\x02", h11.RemoteProtocolError),
    ],
    ids=["fields", "fields without an end", "a trailer", "TLS"],
)
def test_too_much_is_refused(data: bytes, error: type[Exception], size: int) -> None:
    with pytest.raises(error):
        parsed(data, size)


@pytest.mark.parametrize("size", [1_000, 10**6])
def test_a_head_that_never_ends_is_refused(size: int) -> None:
    with pytest.raises(h11.RemoteProtocolError):
        parsed(HEAD + b"A: " + b"b" * 2 * HEAD_BYTES, size)


@SIZES
def test_as_many_fields_as_are_allowed_are_read(size: int) -> None:
    assert len(parsed(HEAD + b"A: b\r\n" * (MAX_FIELDS - 1) + b"\r\n", size)) == 2


@pytest.mark.parametrize(
    ("error", "line", "kind", "words"),
    [
        (TooManyFields(), b"", HeadTooLarge, "it may have 128 fields"),
        (h11.RemoteProtocolError("x", error_status_hint=431), b"", HeadTooLarge, "64 KiB"),
        (h11.RemoteProtocolError("x", error_status_hint=501), b"", UnknownCoding, "as it is or chunked"),
        (h11.RemoteProtocolError("x"), "GET /grün".encode(), NotHttp, "percent-encode"),
        (h11.RemoteProtocolError("illegal Authorization: Bearer SECRET"), b"GET /", NotHttp, "illegal"),
    ],
)
def test_the_client_is_told_what_is_wrong(
    error: h11.RemoteProtocolError, line: bytes, kind: type[RoomcastError], words: str
) -> None:
    told = error_of(error, line)
    assert isinstance(told, kind)
    assert words in told.detail
    assert "SECRET" not in told.detail
