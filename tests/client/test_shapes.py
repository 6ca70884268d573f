"""Code that repeats `model/shapes`, for speed or for type checkers, agrees with it."""

from __future__ import annotations

from typing import NotRequired, get_origin, get_type_hints

import httpx
from msgspec.structs import fields

import roomcast
from roomcast.api.openapi import document
from roomcast.client import Publication
from roomcast.model.shapes import HistoryPage, StoredMessage

SCHEMAS = document("", [])["components"]["schemas"]


async def test_the_servers_messages_and_pages_have_the_fields_of_their_shapes() -> None:
    given = {"room": "a", "user": "b", "text": "c", "type": "d", "data": {}}
    live = roomcast.app(log="memory:")
    transport = httpx.ASGITransport(live)
    async with live, httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        stored = (await client.post("/messages", json=given)).json()
        page = (await client.get("/messages?room=a", headers={"accept": "application/json"})).json()
    assert page["messages"] == [stored]
    assert set(stored) == {field.name for field in fields(StoredMessage)}
    assert set(page) == {field.name for field in fields(HistoryPage)}


def test_a_publication_has_the_fields_of_the_api() -> None:
    schema = SCHEMAS["Publication"]
    assert set(Publication.__annotations__) == set(schema["properties"])
    hints = get_type_hints(Publication, include_extras=True)
    assert {name for name, hint in hints.items() if get_origin(hint) is not NotRequired} == set(schema["required"])
