"""What may be published: a body becomes the messages to store.

Laws:
- Limits first. A body is measured before it is decoded, and a batch is cut into its messages no further than the
  largest batch, so that a refusal costs no more than the bytes.
- One typed decode in C a message. Only what it refuses is looked at a second time, by `refusal`.
- The same answer on every Python: how deep a body may be nested is ours to say, not the interpreter's stack's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import UNSET, Raw

from roomcast.model.errors import Fault, Forbidden, Invalid, TooLarge
from roomcast.model.fields import ANONYMOUS, Publication
from roomcast.model.json_text import nested_deeper, one_line, unreadable_number
from roomcast.model.message import Draft
from roomcast.model.refusal import MAX_FAULTS, NEITHER, UNREADABLE, invalid, malformed, refused, unreadable

MAX_BATCH = 1_000
MAX_NESTING = 100
"""Arrays and objects inside each other in `data`. What is stored once is read by everybody who follows, and
readers give up early: Ruby and serde at some 100 levels, PHP at 512, Python and Jackson at 1,000."""
STEP = 64 * 1024
"""Bytes of messages between two pauses: a millisecond or two where they are meant to take long."""
_MESSAGE_STEP = 512
"""What a message costs however small it is, as bytes."""
_FAULT_STEP = 4 * 1024
"""The same, of saying what is wrong with one."""
_TOO_DEEP = f"it is nested deeper than {MAX_NESTING} levels"
_SHRINKS = 6
"""How many bytes of a body become one stored byte at most: `\\u0061` is stored as `a`."""
_WHITE_SPACE = b" \t\r\n"
_LINE_END = re.compile(rb"\n[ \t\r\n]*")

_Batch = msgspec.defstruct(
    "_Batch", [(f"_{n}", Raw, UNSET) for n in range(MAX_BATCH)], array_like=True, forbid_unknown_fields=True
)
"""An array of at most MAX_BATCH values, undecoded. msgspec checks a list's length when it has decoded all of it;
here it stops at the first value too many."""

_batch = msgspec.json.Decoder(_Batch)
_one = msgspec.json.Decoder(Publication)
_encode = msgspec.json.Encoder().encode


class Request(NamedTuple):
    """A publish request that may be stored."""

    drafts: Sequence[Draft]
    batch: bool
    """Whether it came as an array or as lines, and is answered with an array."""


Steps = Generator[None, None, Request]
"""Parsing that pauses after each STEP or so, for a caller that has others to serve in between. It yields None
at a pause and returns the request."""


class Fields(NamedTuple):
    """A message's fields that do not stand in its body, checked already."""

    room: str
    user: str | None
    type: str | None


class Parser(Protocol):
    """From a body, how many bytes a stored message may have, and the only user that its messages may have."""

    def __call__(self, body: bytes, max_message: int, only: str | None = None, /) -> Request: ...


OfBody = Callable[[bytes, Fields, int, str | None], Steps]
"""From a body that is a message's data or text, and the other fields."""


def parse_json(body: bytes, max_message: int, only: str | None = None) -> Request:
    """One message, or an array of 1 to 1,000. Raises `Malformed`, `Invalid`, `TooLarge` (a message's stored
    body is at most `max_message` bytes), and `Forbidden` where a user is named who is not `only`."""
    if not body.startswith(b"{") and _is_array(body):  # what is most common is looked at first
        return finished(json_steps(body, max_message, only))
    if not body.isascii():
        _check_utf_8(body)
    return Request([_draft(body, max_message, only)], False)


def parse_lines(body: bytes, max_message: int, only: str | None = None) -> Request:
    """NDJSON: one message a line, empty lines skipped. Raises as `parse_json` does."""
    return finished(line_steps(body, max_message, only))


def json_steps(body: bytes, max_message: int, only: str | None = None) -> Steps:
    """`parse_json` in steps."""
    if not _is_array(body):
        if len(body) <= STEP:
            return parse_json(body, max_message, only)
        _check_utf_8(body)
        draft = yield from _large_draft(body, max_message, only)
        return Request([draft], False)
    _check_utf_8(body)
    drafts = yield from _drafts(_elements(body), max_message, only)
    return Request(drafts, True)


def line_steps(body: bytes, max_message: int, only: str | None = None) -> Steps:
    """`parse_lines` in steps."""
    _check_utf_8(body)
    text = body.strip(_WHITE_SPACE)
    drafts = yield from _drafts(_LINE_END.split(text, MAX_BATCH) if text else [], max_message, only)
    return Request(drafts, True)


def finished(steps: Steps) -> Request:
    """What comes of them, without a pause."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            request: Request = done.value
            return request


def _is_array(body: bytes) -> bool:
    return body.lstrip(_WHITE_SPACE).startswith(b"[")


def _check_utf_8(body: bytes) -> None:
    """msgspec skips over `data` without looking at its characters."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise malformed(error, body) from None


def _elements(body: bytes) -> Sequence[bytes]:
    """The messages of an array, undecoded, and none of those beyond the first 1,001."""
    try:
        batch = _batch.decode(body)
    except msgspec.ValidationError:
        raise _wrong_count("more") from None
    except RecursionError:
        raise unreadable(_TOO_DEEP) from None
    except msgspec.DecodeError as error:
        raise malformed(error, body) from None
    values: Sequence[Any] = msgspec.structs.astuple(batch)
    return [bytes(value) for value in values if value is not UNSET]


def _drafts(
    messages: Sequence[bytes], max_message: int, only: str | None
) -> Generator[None, None, Sequence[Draft]]:
    if not 1 <= len(messages) <= MAX_BATCH:
        raise _wrong_count("more" if messages else "none")
    drafts: list[Draft] = []
    wrong: list[Fault] = []
    others: list[Fault] = []
    unrested = 0
    for n, message in enumerate(messages):
        try:
            drafts.append(_draft(message, max_message, only, f"/{n}"))
        except Forbidden as error:
            others += error.faults
        except Invalid as error:
            wrong += error.faults
            if len(wrong) >= MAX_FAULTS:
                break
            unrested += _FAULT_STEP
        unrested += len(message) + _MESSAGE_STEP
        if unrested >= STEP:
            unrested = 0
            yield
    if wrong:
        raise invalid(wrong[:MAX_FAULTS])
    if others:
        raise Forbidden(others[0].detail, others[:MAX_FAULTS])
    return drafts


def _wrong_count(these: str) -> Invalid:
    return invalid([Fault("", f"must be 1 to {MAX_BATCH:,} messages, these are {these}")])


def json_data(body: bytes, fields: Fields, max_message: int, only: str | None = None) -> Steps:
    """One message, whose `data` is the body. Raises as `parse_json` does."""
    _check_utf_8(body)
    if len(body) > max_message * _SHRINKS:
        _check_size(body, max_message, "")
        yield
    if nested_deeper(body, MAX_NESTING):
        raise unreadable(_TOO_DEEP)
    if len(body) > STEP:
        yield
    try:
        data = msgspec.json.decode(body, type=Raw)
    except msgspec.DecodeError as error:
        raise malformed(error, body) from None
    publication = _with(fields)
    publication.data = data
    return Request([_stored(publication, max_message, only)], False)


def plain_text(body: bytes, fields: Fields, max_message: int, only: str | None = None) -> Steps:
    """One message, whose `text` is the body. Raises as `parse_json` does."""
    if len(body) > max_message:  # no text is shorter as JSON
        raise _too_large(f"at least {len(body)} bytes", max_message, "")
    yield from ()
    _check_utf_8(body)
    if not body:
        raise invalid([Fault("/text", "is missing: the body is the message")])
    publication = _with(fields)
    publication.text = body.decode()
    return Request([_stored(publication, max_message, only)], False)


def _with(fields: Fields) -> Publication:
    user, type = (UNSET if given is None else given for given in (fields.user, fields.type))
    return Publication(fields.room, user, type=type)


def _draft(message: bytes, max_message: int, only: str | None, at: str = "") -> Draft:
    """The message to store."""
    _check_bounds(message, max_message, at)
    return _decoded(message, max_message, only, at)


def _large_draft(message: bytes, max_message: int, only: str | None) -> Generator[None, None, Draft]:
    """The same in steps."""
    yield
    _check_bounds(message, max_message, "")
    yield
    return _decoded(message, max_message, only, "")


def _check_bounds(message: bytes, max_message: int, at: str) -> None:
    if len(message) > max_message * _SHRINKS:
        _check_size(message, max_message, at)
    # A shorter one has not as many brackets.
    if len(message) > 2 * MAX_NESTING and nested_deeper(message, MAX_NESTING + 1):
        raise unreadable(_TOO_DEEP, at)


def _decoded(message: bytes, max_message: int, only: str | None, at: str) -> Draft:
    publication = _publication(message, at)
    if publication.data is UNSET and publication.text is UNSET:
        raise invalid([Fault(f"{at}/text", NEITHER)])
    return _stored(publication, max_message, only, at)


def _stored(publication: Publication, max_message: int, only: str | None, at: str = "") -> Draft:
    if publication.user is UNSET:
        publication.user = ANONYMOUS if only is None else only
    elif only is not None and publication.user != only:
        detail = f"must be {only}, or left out: this credential publishes as {only}"
        raise Forbidden(f"user {detail}", [Fault(f"{at}/user", detail)])
    if publication.data is not UNSET:
        publication.data = Raw(msgspec.json.format(bytes(publication.data), indent=-1))
    body = _encode(publication)
    if not body.isascii():
        body = one_line(body)
    if len(body) > max_message:
        raise _too_large(f"{len(body)} bytes", max_message, at)
    # After the limit: it takes longest where there is most to look at.
    if publication.data is not UNSET and unreadable_number(bytes(publication.data)):
        raise invalid([Fault(f"{at}/data", UNREADABLE)])
    return Draft(publication.room, None if publication.type is UNSET else publication.type, body)


def _publication(message: bytes, at: str) -> Publication:
    try:
        return _one.decode(message)
    except msgspec.ValidationError:
        raise refused(message, at) from None
    except msgspec.DecodeError as error:
        raise malformed(error, message, at) from None


def _check_size(message: bytes, max_message: int, at: str) -> None:
    """Before decoding: by how little it may become, once its white space and its escapes are gone."""
    least = len(message.translate(None, _WHITE_SPACE)) // _SHRINKS
    if least > max_message:
        raise _too_large(f"at least {least} bytes", max_message, at)


def _too_large(size: str, max_message: int, at: str) -> TooLarge:
    detail = f"the message takes {size}, more than the {max_message} that one may have"
    return TooLarge(detail, [Fault(at, detail)])
