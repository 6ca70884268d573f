"""The lists of rooms and of followers, in pages."""

from __future__ import annotations

from roomcast.api.followers import DEFAULT_PAGE, MAX_BEHIND, MAX_PAGE
from roomcast.api.openapi.parts import Json, get, ok, prefix, query_parameter, ref
from roomcast.log.base import ROOMS_PAGE

_STATUSES = (400, 401, 403, 422, 503)


def rooms() -> Json:
    """`GET /rooms`."""
    return {
        **get("rooms", "The rooms that hold messages or are followed, in pages.", _page("Rooms"), *_STATUSES),
        "parameters": [
            query_parameter("prefix", prefix(), "Only rooms whose names begin with this."),
            query_parameter(
                "sort", {"enum": ["name", "newest"], "default": "name"}, "By code point, or newest message first."
            ),
            query_parameter("after", prefix(), "Begin after this name; with sort=newest, before this id."),
            query_parameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": ROOMS_PAGE, "default": ROOMS_PAGE},
                "How many rooms at most.",
            ),
        ],
    }


def followers() -> Json:
    """`GET /followers`."""
    return {
        **get("followers", "The followers and their positions, in pages.", _page("Followers"), *_STATUSES),
        "parameters": [
            query_parameter(
                "after",
                {"type": "string", "pattern": "^[0-9]{1,15}-[0-9]{1,3}-[0-9]{1,15}$"},
                "From the link to the next page.",
            ),
            query_parameter(
                "behind",
                {"type": "integer", "minimum": 1, "maximum": MAX_BEHIND},
                "Only followers that are at least this many messages behind.",
            ),
            query_parameter(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE},
                "How many streams at most.",
            ),
        ],
    }


def _page(schema: str) -> Json:
    page = ok("application/json", ref(schema))
    page["200"]["headers"] = {"Link": {"schema": {"type": "string"}, "description": "RFC 8288: next."}}
    return page
