"""The rules for a message's fields. Each is declared here, and nowhere else.

msgspec checks by these rules, `/openapi.json` publishes them, and a refusal quotes their descriptions.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

ANONYMOUS: Final = "anonymous"
"""The user of a message that names none."""
RESERVED_TYPES = ("gap", "live", "open", "error", "message")

# In Python `$` also matches before a final line feed. The lookahead prevents that. JavaScript has lookaheads, too.
_NO_CONTROLS = r"[^\x00-\x1f\x7f-\x9f]{1,128}$(?!\n)"

RoomName = Annotated[
    str,
    Meta(
        pattern=r"^(?!\$)" + _NO_CONTROLS,
        description="1 to 128 characters, no control characters, not starting with $",
    ),
]
UserName = Annotated[
    str, Meta(pattern="^" + _NO_CONTROLS, description="1 to 128 characters, no control characters")
]
EventType = Annotated[
    str,
    Meta(
        # `event: error` would fire the onerror of every page, and `event: open` its onopen. gap and live are the
        # stream's own events, and message is the event of a message without a type. A type stands unescaped on a
        # line of its own, and some clients end lines wherever str.splitlines does: from a type with a vertical tab
        # in it, httpx-sse 0.4.1 read an `id:` and a `data:`.
        pattern=rf"^(?!(?:{'|'.join(RESERVED_TYPES)})$)(?!roomcast\.)"
        r"[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,64}$(?!\n)",
        description="1 to 64 characters, no control characters and no line or paragraph separators, none of the "
        "reserved " + ", ".join(RESERVED_TYPES) + ", and not starting with roomcast.",
    ),
]
Text = Annotated[str, Meta(min_length=1, description="a string of at least one character")]


class Publication(Struct, forbid_unknown_fields=True):
    """A message as its publisher writes it. It has `text`, `data` or both."""

    room: RoomName
    user: Annotated[UserName, Meta(extra_json_schema={"default": ANONYMOUS})] | UnsetType = UNSET
    text: Text | UnsetType = UNSET
    type: EventType | UnsetType = UNSET
    data: Raw | UnsetType = UNSET


STRINGS: dict[str, Any] = {"room": RoomName, "user": UserName, "text": Text, "type": EventType}
"""The rules of all fields but `data`, which is any JSON value."""
NAMES = (*STRINGS, "data")


def check(name: str, value: object) -> str | None:
    """Returns what is wrong with a value of the field `name` (one of STRINGS); None if nothing is."""
    try:
        msgspec.convert(value, STRINGS[name])
    except msgspec.ValidationError:
        rule = msgspec.json.schema(STRINGS[name])["description"]
        return f"must be {rule}" if isinstance(value, str) else f"must be a string: {rule}"
    return None
