"""What the client reads is what the server says it sends: the same fields, though they stand in two places."""

from __future__ import annotations

from typing import Any, NotRequired, get_origin, get_type_hints

import pytest
from msgspec import Struct
from msgspec.structs import fields

from roomcast.api.openapi import document
from roomcast.client import Gap, Message, Page, Publication, Room

DOCUMENT: dict[str, Any] = document("", [])
SCHEMAS = DOCUMENT["components"]["schemas"]
ROOMS = DOCUMENT["paths"]["/rooms"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
ROOM = ROOMS["properties"]["rooms"]["items"]


@pytest.mark.parametrize(
    ("kind", "schema", "ours"),
    [
        (Message, SCHEMAS["Message"], {"json"}),
        (Gap, SCHEMAS["Gap"], {"id"}),
        (Page, SCHEMAS["Page"], set()),
        (Room, ROOM, set()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_the_client_reads_is_what_the_server_sends(kind: type[Struct], schema: Any, ours: set[str]) -> None:
    """`ours` is what the client adds."""
    read = {field.name for field in fields(kind)} - ours
    assert read <= set(schema["properties"])
    assert set(schema["required"]) <= read
    always = {field.name for field in fields(kind) if field.required}
    assert always == set(schema["required"])


def test_what_the_client_publishes_is_what_the_server_takes() -> None:
    schema = SCHEMAS["Publication"]
    assert set(Publication.__annotations__) == set(schema["properties"])
    hints = get_type_hints(Publication, include_extras=True)
    assert {name for name, hint in hints.items() if get_origin(hint) is not NotRequired} == set(schema["required"])
