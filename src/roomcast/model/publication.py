"""Checks one message as its publisher wrote it, and makes it a draft.

Limits first: a message is measured before it is decoded. It is decoded once, by type and in C; only a message that
this decode refuses is looked at again, by `refusal`.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw

from roomcast.model.errors import Fault, Forbidden, TooLarge
from roomcast.model.fields import ANONYMOUS, Publication
from roomcast.model.json_text import nested_deeper, one_line, unreadable_number
from roomcast.model.message import Draft
from roomcast.model.refusal import NEITHER, UNREADABLE, invalid, malformed, refused, unreadable

MAX_NESTING = 100
"""Most arrays and objects inside each other in `data`. Every follower reads each stored message, and some readers
give up early: Ruby and serde at about 100 levels, PHP at 512, Python and Jackson at 1,000. The limit is ours, so
that it is the same on every Python, whatever the interpreter's stack."""
TOO_DEEP = f"it is nested deeper than {MAX_NESTING} levels"
SHRINKS = 6
"""Most bytes of a body that become one stored byte: `\\u0061` is stored as `a`."""
_WHITE_SPACE = b" \t\r\n"

_one = msgspec.json.Decoder(Publication)
_encode = msgspec.json.Encoder().encode


def draft_of(message: bytes, max_message: int, only_user: str | None, pointer: str = "") -> Draft:
    """Returns the draft of one message in JSON. `pointer` is the JSON pointer to it.

    Raises `Malformed`, `Invalid`, `TooLarge` if its stored body has more than `max_message` bytes, and `Forbidden`
    if `only_user` is given and the message names another user."""
    check_bounds(message, max_message, pointer)
    return decoded(message, max_message, only_user, pointer)


def check_bounds(message: bytes, max_message: int, pointer: str = "") -> None:
    """Raises `TooLarge` for a message whose stored body must be larger than `max_message` bytes, and `Malformed`
    for one that is nested too deeply. `pointer` is the JSON pointer to it."""
    if len(message) > max_message * SHRINKS:
        check_size(message, max_message, pointer)
    # A shorter text that is JSON cannot be nested so deeply.
    if len(message) > 2 * MAX_NESTING and nested_deeper(message, MAX_NESTING + 1):
        raise unreadable(TOO_DEEP, pointer)


def check_size(message: bytes, max_message: int, pointer: str = "") -> None:
    """Raises `TooLarge` if `message` cannot fit into `max_message` bytes even without white space and escapes. A
    message of up to `SHRINKS` times `max_message` bytes always passes. `pointer` is the JSON pointer to it."""
    least = len(message.translate(None, _WHITE_SPACE)) // SHRINKS
    if least > max_message:
        raise too_large(f"at least {least} bytes", max_message, pointer)


def decoded(message: bytes, max_message: int, only_user: str | None, pointer: str = "") -> Draft:
    """Returns the draft of a `message` that has passed `check_bounds`. `max_message`, `only_user`, `pointer` and
    the errors are those of `draft_of`."""
    publication = _publication(message, pointer)
    if publication.data is UNSET and publication.text is UNSET:
        raise invalid([Fault(f"{pointer}/text", NEITHER)])
    return stored(publication, max_message, only_user, pointer)


def stored(publication: Publication, max_message: int, only_user: str | None, pointer: str = "") -> Draft:
    """Returns the draft of a decoded message, `publication`. `max_message`, `only_user` and `pointer` are those of
    `draft_of`. Raises `Forbidden`, `TooLarge` and `Invalid` as it does."""
    if publication.user is UNSET:
        publication.user = ANONYMOUS if only_user is None else only_user
    elif only_user is not None and publication.user != only_user:
        detail = f"must be {only_user}, or left out: this credential publishes as {only_user}"
        raise Forbidden(f"user {detail}", [Fault(f"{pointer}/user", detail)])
    if publication.data is not UNSET:
        publication.data = Raw(msgspec.json.format(bytes(publication.data), indent=-1))
    body = _encode(publication)
    if not body.isascii():
        body = one_line(body)
    if len(body) > max_message:
        raise too_large(f"{len(body)} bytes", max_message, pointer)
    # After the limit, since a larger message takes longer.
    if publication.data is not UNSET and unreadable_number(bytes(publication.data)):
        raise invalid([Fault(f"{pointer}/data", UNREADABLE)])
    return Draft(publication.room, None if publication.type is UNSET else publication.type, body)


def too_large(size: str, max_message: int, pointer: str = "") -> TooLarge:
    """Returns the error for a message at the JSON `pointer` that exceeds `max_message` bytes. `size` says how much
    it takes, such as "at least 9 bytes"."""
    detail = f"the message takes {size}, more than the {max_message} that one may have"
    return TooLarge(detail, [Fault(pointer, detail)])


def _publication(message: bytes, pointer: str) -> Publication:
    try:
        return _one.decode(message)
    except msgspec.ValidationError:
        raise refused(message, pointer) from None
    except msgspec.DecodeError as error:
        raise malformed(error, message, pointer) from None
