"""The server's shapes as JSON Schema."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

import msgspec

from roomcast.api.openapi.parts import Json
from roomcast.model.fields import Publication
from roomcast.model.shapes import (
    FollowerInfo,
    Followers,
    Gap,
    Health,
    HistoryPage,
    Live,
    NotReady,
    Problem,
    Ready,
    Room,
    Rooms,
    StoredMessage,
)

_ARGUMENTS = re.compile(rb'("(?:#/components/schemas/)?[A-Z][A-Za-z]*)_[^"]*')
"""Matches msgspec's name StoredMessage_Any_ of `StoredMessage[Any]`, which is StoredMessage here."""
_SHAPES = (
    Publication,
    StoredMessage[Any],
    Gap,
    Live,
    HistoryPage[StoredMessage[Any]],
    Rooms[Room[Any]],
    Followers[FollowerInfo[Any]],
    Health,
    Ready,
    NotReady,
    Problem,
)


@cache
def schemas() -> Json:
    """The server's shapes by name, cached: making them takes 3 ms of the loop. A stored message's fields follow
    the publisher's rules, and are missing if the publisher did not give them."""
    _, found = msgspec.json.schema_components(_SHAPES, ref_template="#/components/schemas/{name}")
    named = msgspec.json.decode(_ARGUMENTS.sub(rb"\1", msgspec.json.encode(found)))
    by_name: Json = {name: {**schema, "title": name} for name, schema in named.items()}
    publication, message = by_name["Publication"], by_name["StoredMessage"]
    publication["anyOf"] = [{"required": ["text"]}, {"required": ["data"]}]
    message["properties"] |= {name: _plain(field) for name, field in publication["properties"].items()}
    return by_name


def _plain(field: Json) -> Json:
    """A stored field's schema without the default, which is only for publishers."""
    return {name: value for name, value in field.items() if name != "default"}
