"""Turns the body of a publish request into the drafts to store.

Laws:
- Splitting a batch into messages stops at `MAX_BATCH`, so refusing a larger one costs at most one pass over its
  bytes.
- Parsing pauses between steps of at most a few milliseconds, for a caller that also serves others.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
from msgspec import UNSET, Raw

from roomcast.model.errors import Fault, Forbidden, Invalid
from roomcast.model.fields import Publication
from roomcast.model.json_text import nested_deeper
from roomcast.model.message import Draft
from roomcast.model.publication import (
    MAX_NESTING,
    SHRINKS,
    TOO_DEEP,
    check_bounds,
    check_size,
    decoded,
    draft_of,
    stored,
    too_large,
)
from roomcast.model.refusal import MAX_FAULTS, invalid, malformed, unreadable

MAX_BATCH = 1_000
STEP = 64 * 1024
"""Bytes of messages between two pauses: half a millisecond, or 2 to 4 ms if they are made to take long. A longer
message, which `--max-message` may allow, is decoded in one step."""
_MESSAGE_STEP = 512
"""Counted for each message besides its bytes: even an empty one takes time."""
_FAULT_STEP = 4 * 1024
"""Counted for each bad message besides its bytes: describing what is wrong takes time."""
_WHITE_SPACE = b" \t\r\n"
_LINE_END = re.compile(rb"\n[ \t\r\n]*")

_Batch = msgspec.defstruct(
    "_Batch", [(f"_{n}", Raw, UNSET) for n in range(MAX_BATCH)], array_like=True, forbid_unknown_fields=True
)
"""An array of at most MAX_BATCH values, undecoded. msgspec checks the length of a list after it has decoded all of
it; here it stops at the first value too many."""

_batch = msgspec.json.Decoder(_Batch)


class PublishRequest(NamedTuple):
    """A publish request that may be stored."""

    drafts: Sequence[Draft]
    batch: bool
    """Whether it came as an array or as lines. It is then answered with an array."""


Steps = Generator[None, None, PublishRequest]
"""Parsing in steps of about STEP bytes. It yields None at each pause, and returns the request."""


class Fields(NamedTuple):
    """A message's fields that are not in its body. They are checked already."""

    room: str
    user: str | None
    type: str | None


class Parser(Protocol):
    """Parses a body. `parse_json` and `parse_lines` are parsers."""

    def __call__(self, body: bytes, max_message: int, only_user: str | None = None, /) -> PublishRequest: ...


def parse_json(body: bytes, max_message: int, only_user: str | None = None) -> PublishRequest:
    """Parses `body`: one message, or an array of 1 to 1,000.

    Raises `Malformed`, `Invalid`, `TooLarge` if a message's stored body has more than `max_message` bytes, and
    `Forbidden` if `only_user` is given and a message names another user."""
    if not body.startswith(b"{") and _is_array(body):  # the first test is cheap, and settles most bodies
        return finished(json_steps(body, max_message, only_user))
    if not body.isascii():
        _check_utf_8(body)
    return PublishRequest([draft_of(body, max_message, only_user)], False)


def parse_lines(body: bytes, max_message: int, only_user: str | None = None) -> PublishRequest:
    """Parses `body` as NDJSON: one message a line, empty lines skipped. `max_message`, `only_user` and the errors
    are those of `parse_json`."""
    return finished(line_steps(body, max_message, only_user))


def json_steps(body: bytes, max_message: int, only_user: str | None = None) -> Steps:
    """`parse_json` of `body`, `max_message` and `only_user`, in steps."""
    if not _is_array(body):
        if len(body) <= STEP:
            return parse_json(body, max_message, only_user)
        _check_utf_8(body)
        yield
        check_bounds(body, max_message)
        yield
        return PublishRequest([decoded(body, max_message, only_user)], False)
    _check_utf_8(body)
    drafts = yield from _drafts(_elements(body), max_message, only_user)
    return PublishRequest(drafts, True)


def line_steps(body: bytes, max_message: int, only_user: str | None = None) -> Steps:
    """`parse_lines` of `body`, `max_message` and `only_user`, in steps."""
    _check_utf_8(body)
    text = body.strip(_WHITE_SPACE)
    drafts = yield from _drafts(_LINE_END.split(text, MAX_BATCH) if text else [], max_message, only_user)
    return PublishRequest(drafts, True)


def json_data(body: bytes, fields: Fields, max_message: int, only_user: str | None = None) -> Steps:
    """Makes one message whose `data` is `body`, and whose other fields are `fields`. `max_message`, `only_user`
    and the errors are those of `parse_json`."""
    _check_utf_8(body)
    if len(body) > max_message * SHRINKS:
        check_size(body, max_message)
        yield
    if nested_deeper(body, MAX_NESTING):
        raise unreadable(TOO_DEEP)
    if len(body) > STEP:
        yield
    try:
        data = msgspec.json.decode(body, type=Raw)
    except msgspec.DecodeError as error:
        raise malformed(error, body) from None
    publication = _with(fields)
    publication.data = data
    return PublishRequest([stored(publication, max_message, only_user)], False)


def plain_text(body: bytes, fields: Fields, max_message: int, only_user: str | None = None) -> Steps:
    """Makes one message whose `text` is `body`, and whose other fields are `fields`. `max_message`, `only_user`
    and the errors are those of `parse_json`."""
    if len(body) > max_message:  # a text is never shorter as JSON
        raise too_large(f"at least {len(body)} bytes", max_message)
    yield from ()
    _check_utf_8(body)
    if not body:
        raise invalid([Fault("/text", "is missing: the body is the message")])
    publication = _with(fields)
    publication.text = body.decode()
    return PublishRequest([stored(publication, max_message, only_user)], False)


def finished(steps: Steps) -> PublishRequest:
    """Takes all `steps` without a pause, and returns the request."""
    while True:
        try:
            next(steps)
        except StopIteration as done:
            request: PublishRequest = done.value
            return request


def _is_array(body: bytes) -> bool:
    return body.lstrip(_WHITE_SPACE).startswith(b"[")


def _check_utf_8(body: bytes) -> None:
    """Raises `Malformed` if the body is not UTF-8. msgspec does not: it skips `data` without looking into it."""
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as error:
            raise malformed(error, body) from None


def _elements(body: bytes) -> Sequence[bytes]:
    """The messages of an array, undecoded. Raises if there are more than MAX_BATCH."""
    try:
        batch = _batch.decode(body)
    except msgspec.ValidationError:
        raise _wrong_count("more") from None
    except RecursionError:
        raise unreadable(TOO_DEEP) from None
    except msgspec.DecodeError as error:
        raise malformed(error, body) from None
    values: Sequence[Any] = msgspec.structs.astuple(batch)
    return [bytes(value) for value in values if value is not UNSET]


def _drafts(
    messages: Sequence[bytes], max_message: int, only_user: str | None
) -> Generator[None, None, Sequence[Draft]]:
    if not 1 <= len(messages) <= MAX_BATCH:
        raise _wrong_count("more" if messages else "none")
    drafts: list[Draft] = []
    wrong: list[Fault] = []
    forbidden: list[Fault] = []
    cost = 0
    for n, message in enumerate(messages):
        cost += len(message) + _MESSAGE_STEP
        if cost > STEP:  # before this message: two large ones would take twice as long
            cost = len(message) + _MESSAGE_STEP
            yield
        try:
            drafts.append(draft_of(message, max_message, only_user, f"/{n}"))
        except Forbidden as error:
            forbidden += error.faults
        except Invalid as error:
            wrong += error.faults
            if len(wrong) >= MAX_FAULTS:
                break
            cost += _FAULT_STEP
    if wrong:
        raise invalid(wrong[:MAX_FAULTS])
    if forbidden:
        raise Forbidden(forbidden[0].detail, forbidden[:MAX_FAULTS])
    return drafts


def _wrong_count(these: str) -> Invalid:
    return invalid([Fault("", f"must be 1 to {MAX_BATCH:,} messages, these are {these}")])


def _with(fields: Fields) -> Publication:
    user, type = (UNSET if given is None else given for given in (fields.user, fields.type))
    return Publication(fields.room, user, type=type)
