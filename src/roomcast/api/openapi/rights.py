"""The client's own rights, tickets and revocations."""

from __future__ import annotations

from roomcast.api.openapi.parts import Json, get, ok, problems, schema_of
from roomcast.api.tickets import MAX_SECONDS
from roomcast.model.fields import RoomName, UserName


def me() -> Json:
    """`GET /me`."""
    grants = {"type": "array", "items": {"type": "string"}, "description": "Rooms, and prefixes that end in *."}
    properties = {
        "kind": {"enum": ["anonymous", "key", "ticket", "token", "host"]},
        "name": {"type": "string", "description": "As the access log has it."},
        "user": {"type": ["string", "null"], "description": "The user of its messages; null: any."},
        "read": grants,
        "publish": grants,
        "metrics": {"type": "boolean"},
        "admin": {"type": "boolean"},
        "expires_in": {"type": ["integer", "null"], "minimum": 0, "description": "Seconds; null: no end."},
    }
    schema = {"type": "object", "required": list(properties), "properties": properties}
    return get("me", "The client's own rights.", ok("application/json", schema), 400, 401, 403, 422, 503)


def ticket() -> Json:
    """`POST /tickets`."""
    rooms = {"type": "array", "items": schema_of(RoomName), "default": []}
    name = {"anyOf": [schema_of(UserName), {"type": "null"}]}
    wanted = {
        "rooms": {**rooms, "description": "Rooms that may be read."},
        "prefixes": {
            "type": "array",
            "items": {"type": "string"},
            "default": [],
            "description": "Rooms whose names begin with these may be read, too.",
        },
        "publish": {**rooms, "description": "Rooms that may be published to; needs sub."},
        "sub": {**name, "description": "The ticket's holder, as the application names them."},
        "user": {
            **name,
            "description": "The user of its messages; by default that of the key or token, or anonymous.",
        },
        "seconds": {"type": "integer", "minimum": 1, "maximum": MAX_SECONDS, "default": 3600},
    }
    issued = {
        "ticket": {"type": "string"},
        "url": {"type": "string", "description": "The path of the stream that it opens, if it may read."},
        "opens_in": {"type": "integer", "description": "Seconds in which url opens a stream."},
        "ends_in": {"type": "integer", "description": "Seconds after which the ticket expires."},
    }
    answer = {"type": "object", "required": ["ticket", "opens_in", "ends_in"], "properties": issued}
    body = {"type": "object", "additionalProperties": False, "properties": wanted}
    return {
        "operationId": "ticket",
        "summary": "Issue a ticket for some rooms, for a client without a key, such as a page.",
        "security": [{"bearer": []}, {"basic": []}],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body, "example": {"rooms": ["user/42"], "seconds": 3600}}},
        },
        "responses": {
            "201": {"description": "Signed.", "content": {"application/json": {"schema": answer}}},
            **problems(400, 401, 403, 408, 413, 415, 422, 501, 503),
        },
    }  # fmt: skip


def revocation() -> Json:
    """`POST /revocations`."""
    optional = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    given = {
        "sub": {**schema_of(UserName), "description": "The person whose tokens and tickets end."},
        "iss": {
            **optional,
            "description": "Only tokens of this issuer, and tickets issued for them; by default all.",
        },
        "before": {
            "anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}],
            "default": None,
            "description": "Only tokens and tickets issued before this time; now by default.",
        },
    }
    body = {"type": "object", "required": ["sub"], "additionalProperties": False, "properties": given}
    return {
        "operationId": "revoke",
        "summary": "End a person's tokens and tickets, and their streams, on all servers of a log.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": body, "example": {"sub": "42"}}},
        },
        "responses": {
            "204": {"description": "They are no longer valid."},
            **problems(400, 401, 403, 408, 413, 415, 422, 501, 503, 507),
        },
    }
