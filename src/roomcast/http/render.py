"""Answers as bytes of HTTP/1 (RFC 9112)."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from roomcast.api.answer import Answer, HeaderFields, Streaming

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
_STATUS = {int(status): b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}
_CLOSE = b"connection: close\r\n"
_CLOSE_AND_BLANK = _CLOSE + b"\r\n"
_CHUNKED = b"transfer-encoding: chunked\r\n"


def whole_answer(answer: Answer, *, close: bool) -> bytes:
    """The bytes of `answer`, whose body is complete. If `close`, they say that the connection ends after it."""
    lines = _lines(answer)
    if answer.length is not None:
        lines.append(b"content-length: %d\r\n" % answer.length)
    lines += (_CLOSE_AND_BLANK if close else b"\r\n", answer.body)
    return b"".join(lines)


def answer_head(answer: Answer, *, close: bool, chunked: bool) -> bytes:
    """The head of `answer`, whose body comes in pieces, blank line included. The pieces are sent as chunks if
    `chunked`; otherwise the end of the connection ends them. If `close`, the head says that the connection ends
    after them."""
    lines = _lines(answer)
    lines += (_CHUNKED if chunked else b"", _CLOSE_AND_BLANK if close else b"\r\n")
    return b"".join(lines)


def _lines(answer: Answer) -> list[bytes]:
    lines = [_shared_lines(answer.status, answer.fields, answer.cors, int(time.time()))]
    for name, value in answer.own:
        lines += (name, b": ", value, b"\r\n")
    return lines


@lru_cache(64)
def _shared_lines(status: int, fields: HeaderFields, cors: HeaderFields, now: int) -> bytes:
    """The lines that the answers of one second share."""
    return b"%b%b%b%b" % (_STATUS[status], _date(now), fields.lines, cors.lines)


def stream_head(streaming: Streaming, *, chunked: bool) -> bytes:
    """The head of `streaming`, which ends with its connection. Its writes are chunks if `chunked`."""
    return _stream_head(streaming.fields, streaming.cors, chunked, int(time.time()))


@lru_cache(64)
def _stream_head(fields: HeaderFields, cors: HeaderFields, chunked: bool, now: int) -> bytes:
    end = _CLOSE + (_CHUNKED if chunked else b"")
    return _shared_lines(200, fields, cors, now) + end + b"\r\n"


def chunk(data: bytes) -> bytes:
    """`data`, which must not be empty, as a chunk (RFC 9112, section 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@lru_cache(1)
def _date(now: int) -> bytes:
    """The `Date` field (RFC 9110, section 6.6.1)."""
    return b"date: %b\r\n" % formatdate(now, usegmt=True).encode()
