"""The SQL of `queries.sql`, each query by its name, and the shapes in which messages cross to SQLite and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from itertools import accumulate

import msgspec

from roomcast.model.message import Message

SCHEMAS = [files(__package__).joinpath(name).read_text("utf-8") for name in ("schema.sql", "schema-2.sql")]
"""Script n brings a database of version n to version n + 1."""

NO_END = 2**63 - 1
"""A seq, or a number of bytes, that nothing reaches."""

_Head = tuple[int, str, str | None, int, int, int]
"""A message's fields, with the length of its body for the body."""
_heads = msgspec.json.Decoder(list[_Head])


def _load() -> dict[str, str]:
    parts = re.split(r"^-- (\w+) --$", files(__package__).joinpath("queries.sql").read_text("utf-8"), flags=re.M)
    return {name: _bare(text) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _bare(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if not line.startswith("--")]
    return "\n".join(lines).removesuffix(";")


def to_json(values: object) -> str:
    """As SQLite's JSON functions take it."""
    return msgspec.json.encode(values).decode()


def pack(messages: Sequence[Message]) -> dict[str, str | bytes]:
    """The messages among the parameters of `step`."""
    ends = accumulate(len(message.body) for message in messages)
    heads = [(*m[:5], end - len(m.body) + 1, len(m.body)) for m, end in zip(messages, ends, strict=True)]
    return {"heads": to_json(heads), "bodies": b"".join([message.body for message in messages])}


def unpack(heads: str, bodies: bytes | None) -> list[Message]:
    """The messages of `page`."""
    start = 0
    messages = []
    for seq, room, type_, stored_at, prev, length in _heads.decode(heads):
        body = bodies[start : start + length] if bodies else b""
        messages.append(Message(seq, room, type_, stored_at, prev, body))
        start += length
    return messages


QUERIES = _load()

_keys = {"keys": f"{QUERIES['stored_keys']};", "gone_keys": f"{QUERIES['gone_keys']};"}
_step = QUERIES["make_step"]
QUERIES["make_step"] = _step.format(name="step", stored=QUERIES["stored"], **_keys)
QUERIES["make_plain"] = _step.format(name="plain", stored=QUERIES["stored"], keys="", gone_keys="")
QUERIES["make_cutting"] = QUERIES["make_cutting"].format(
    stored=QUERIES["stored"], keys=QUERIES["stored_keys"], gone_keys=QUERIES["gone_keys"]
)
for name in ("rooms_by_name", "rooms_by_newest"):
    QUERIES[f"{name}_with_oldest"] = QUERIES[name].format(oldest=QUERIES["oldest_of_row"], trimmed=", trimmed")
    QUERIES[name] = QUERIES[name].format(oldest=", 0", trimmed="")
QUERIES["page_of_all"] = QUERIES["page"].format(picked=QUERIES["pick_range"], chosen="true")
