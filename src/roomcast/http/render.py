"""Answers as bytes of HTTP/1 (RFC 9112)."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from roomcast.api.request import Answer, Fields, Streaming

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
_STATUS = {int(status): b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
_CLOSE = b"connection: close\r\n"
_CLOSE_AND_BLANK = _CLOSE + b"\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n"


def whole(answer: Answer, *, close: bool) -> bytes:
    """An answer whose body is there."""
    length = b"" if answer.length is None else b"content-length: %d\r\n" % answer.length
    return b"".join((*_lines(answer), length, _CLOSE_AND_BLANK if close else b"\r\n", answer.body))


def answer_head(answer: Answer, *, close: bool, chunked: bool) -> bytes:
    """Of an answer in pieces, up to and with the blank line. `chunked` is how these go out; else their end is that
    of the connection."""
    lines = _lines(answer)
    lines += (_CHUNKED if chunked else b"", _CLOSE_AND_BLANK if close else b"\r\n")
    return b"".join(lines)


def _lines(answer: Answer) -> list[bytes]:
    lines = [_STATUS[answer.status], _date(int(time.time())), answer.fields.lines, answer.cors.lines]
    for name, value in answer.own:
        lines += (name, b": ", value, b"\r\n")
    return lines


def stream_head(streaming: Streaming, *, chunked: bool) -> bytes:
    """A stream's, which ends with its connection."""
    return _stream_head(streaming.fields, streaming.cors, chunked, int(time.time()))


@lru_cache(64)
def _stream_head(fields: Fields, cors: Fields, chunked: bool, now: int) -> bytes:
    end = _CLOSE + (_CHUNKED if chunked else b"")
    return b"%b%b%b%b%b\r\n" % (_STATUS[200], _date(now), fields.lines, cors.lines, end)


def chunk(data: bytes) -> bytes:
    """A chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@lru_cache(1)
def _date(now: int) -> bytes:
    """RFC 9110, section 6.6.1."""
    return b"date: %b\r\n" % formatdate(now, usegmt=True).encode()
