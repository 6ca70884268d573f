"""The SQL of `queries.sql`, each query by its name, and how messages are passed to SQLite and back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from itertools import accumulate
from typing import Any

import apsw
import msgspec

from roomcast.model.message import Message

SCHEMAS = [files(__package__).joinpath(name).read_text("utf-8") for name in ("schema.sql", "schema-2.sql")]
"""The script with index n migrates a database from version n to version n + 1."""

NO_END = 2**63 - 1
"""Larger than any seq and any number of bytes."""

_Head = tuple[int, str, str | None, int, int, int]
"""A message's fields, with the length of its body instead of the body."""
_heads = msgspec.json.Decoder(list[_Head])


def _load() -> dict[str, str]:
    parts = re.split(r"^-- (\w+) --$", files(__package__).joinpath("queries.sql").read_text("utf-8"), flags=re.M)
    return {name: _bare(text) for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _bare(text: str) -> str:
    lines = [line for line in text.strip().splitlines() if not line.startswith("--")]
    return "\n".join(lines).removesuffix(";")


def to_json(values: object) -> str:
    """Encodes values for SQLite's JSON functions."""
    return msgspec.json.encode(values).decode()


def one_row(connection: apsw.Connection, statement: str, parameters: dict[str, Any] | None = None) -> Any:
    """The one row of `statement`, run on `connection` with `parameters` by their names. Raises `apsw.Error`, and
    `ValueError` if there is no row, or more than one."""
    # A list, so that SQLite steps past the row: a statement left on its row would keep its read transaction open.
    [row] = list(connection.execute(statement, parameters))
    return row


def pack(messages: Sequence[Message]) -> dict[str, str | bytes]:
    """Encodes messages as parameters of the query `step`."""
    ends = accumulate(len(message.body) for message in messages)
    heads = [(*m[:5], end - len(m.body) + 1, len(m.body)) for m, end in zip(messages, ends, strict=True)]
    return {"heads": to_json(heads), "bodies": b"".join([message.body for message in messages])}


def unpack(heads: str, bodies: bytes | None) -> list[Message]:
    """Decodes the messages of the query `page`. `heads`: their fields as JSON. `bodies`: all bodies one after the
    other; None if there are no messages."""
    start = 0
    messages = []
    for seq, room, type_, stored_at, prev, length in _heads.decode(heads):
        body = bodies[start : start + length] if bodies else b""
        messages.append(Message(seq, room, type_, stored_at, prev, body))
        start += length
    return messages


QUERIES = _load()

_stored, _step, _cutting = QUERIES["stored"], QUERIES["make_step"], QUERIES["make_cutting"]
_keys, _gone_keys = f"{QUERIES['stored_keys']};", f"{QUERIES['gone_keys']};"
QUERIES["make_step"] = _step.format(name="step", stored=_stored, keys=_keys, gone_keys=_gone_keys)
QUERIES["make_plain"] = _step.format(name="plain", stored=_stored, keys="", gone_keys="")
QUERIES["make_cutting"] = _cutting.format(
    name="cutting",
    stored=_stored,
    keys=_keys,
    capped=QUERIES["capped_but_deleted"],
    counted=QUERIES["none_purged"].removeprefix("AND "),
    gone_keys=f"{_gone_keys}{QUERIES['cut_keys']};",
    gone_marks=f"{QUERIES['gone_marks']};",
)
QUERIES["make_plain_cutting"] = _cutting.format(
    name="plain_cutting", stored=_stored, keys="", capped="max(seq)", counted="true", gone_keys="", gone_marks=""
)
for name in ("rooms_by_name", "rooms_by_newest"):
    QUERIES[f"{name}_with_oldest"] = QUERIES[name].format(oldest=QUERIES["oldest_of_row"], trimmed=", trimmed")
    QUERIES[name] = QUERIES[name].format(oldest=", 0", trimmed="")
QUERIES["page_of_all"] = QUERIES["page"].format(picked=QUERIES["pick_range"], chosen="true")
