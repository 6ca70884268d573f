"""Publishing, following and deleting messages."""

from __future__ import annotations

from roomcast.api.openapi.parts import (
    Json,
    header_parameter,
    ok,
    prefix,
    problems,
    query_parameter,
    ref,
    schema_of,
)
from roomcast.api.query import MAX_LIMIT, MAX_ROOMS
from roomcast.model.draft import MAX_BATCH
from roomcast.model.fields import EventType, RoomName, UserName
from roomcast.model.shapes import Id

_DURATION = {
    "type": "string",
    "pattern": "^(?=.)([0-9]{1,9}d)?([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?$",
    "examples": ["10m"],
}
_TIME = {"type": "string", "format": "date-time"}


def publish() -> Json:
    """`POST /messages`."""
    batch = {"type": "array", "minItems": 1, "maxItems": MAX_BATCH, "items": ref("Publication")}
    stored = {"oneOf": [ref("StoredMessage"), {"type": "array", "items": ref("StoredMessage")}]}
    answer = {
        "headers": {"Location": {"schema": {"type": "string"}, "description": "The first message's URL."}},
        "content": {"application/json": {"schema": stored}},
    }
    return {
        "operationId": "publish",
        "summary": "Publish a message, or a batch that is stored whole or not at all.",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "A repeated request with the same key stores nothing and gets the first answer.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [ref("Publication"), batch]},
                    "example": {"text": "was geht ab in buxtehude?", "room": "developers"},
                },
                "application/x-ndjson": {"schema": {"type": "string", "description": "One message a line."}},
            },
        },
        "responses": {
            "201": {"description": "Stored, durably.", **answer},
            "200": {"description": "Already stored, under the same Idempotency-Key.", **answer},
            **problems(400, 401, 403, 408, 413, 415, 422, 429, 503),
        },
    }


def post() -> Json:
    """`POST /rooms/{room}`."""
    return {
        **publish(),
        "operationId": "post",
        "summary": "Post any text, or any JSON as a message's data: for shells and webhooks.",
        "parameters": [
            {"name": "room", "in": "path", "required": True, "schema": schema_of(RoomName)},
            query_parameter("user", schema_of(UserName), "The user who says it."),
            query_parameter("type", schema_of(EventType), "The type of the event."),
            *publish()["parameters"],
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {}, "example": {"status": "done"}},
                "text/plain": {"schema": {"type": "string", "minLength": 1}},
            },
        },
    }


def follow() -> Json:
    """`GET /messages`."""
    stream = {"schema": {"type": "string", "description": "Messages and the events gap, live and roomcast.end."}}
    return {
        "operationId": "follow",
        "summary": "Follow rooms: the retained messages, then new ones; or get a page of messages as JSON.",
        "security": [{}, {"bearer": []}, {"basic": []}, {"ticket": []}],
        "parameters": [
            {
                "name": "room",
                "in": "query",
                "description": "Repeat it to follow several rooms. A request names at least one room or prefix, "
                "and at most 64 together.",
                "style": "form",
                "explode": True,
                "schema": {"type": "array", "minItems": 1, "maxItems": MAX_ROOMS, "items": schema_of(RoomName)},
            },
            {
                "name": "prefix",
                "in": "query",
                "description": "All rooms whose names begin with this, future ones included; empty: all rooms.",
                "style": "form",
                "explode": True,
                "schema": {"type": "array", "minItems": 1, "maxItems": MAX_ROOMS, "items": prefix()},
            },
            header_parameter("Last-Event-ID", "Resume after this id; a browser's EventSource sends it by itself."),
            query_parameter("last_event_id", {"type": "string"}, "The same, for clients that cannot set headers; "
                   "lastEventId and Last-Event-ID, as polyfills add them, win over it."),
            query_parameter("after", {"type": "string"}, "The same, in the links of pages."),
            query_parameter("since", {"anyOf": [_DURATION, _TIME]}, "Start with the first message stored at "
                   "or after this RFC 3339 time, or within this duration. Not together with replay."),
            query_parameter("replay", {"type": "string", "pattern": "^(all|none|[0-9]{1,9})$", "default": "all"},
                   "Start with all that is retained, with nothing, or with the newest N."),
            query_parameter("before", schema_of(Id), "Pages only: end before this id."),
            query_parameter("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 100},
                   "Pages only: how many messages at most."),
        ],
        "responses": {
            "200": {
                "description": "A stream that goes on, or a page.",
                "headers": {"Link": {"schema": {"type": "string"}, "description": "RFC 8288: prev, next."}},
                "content": {
                    "text/event-stream": stream,
                    "application/x-ndjson": stream,
                    "application/json": {"schema": ref("HistoryPage")},
                },
            },
            **problems(400, 401, 403, 406, 422, 503),
        },
    }  # fmt: skip


def message() -> Json:
    """`GET /messages/{id}`."""
    return {
        "operationId": "message",
        "summary": "One message.",
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
        "responses": {
            **ok("application/json", ref("StoredMessage")),
            **problems(400, 401, 403, 404, 410, 422, 503),
        },
    }


def delete_message() -> Json:
    """`DELETE /messages/{id}`."""
    return {
        "operationId": "deleteMessage",
        "summary": "Delete a message, durably. Followers that have it keep it.",
        "parameters": message()["parameters"],
        "responses": {
            "204": {"description": "It is deleted."},
            **problems(400, 401, 403, 404, 410, 422, 501, 503),
        },
    }


def delete_room() -> Json:
    """`DELETE /rooms/{room}`."""
    return {
        "operationId": "deleteRoom",
        "summary": "Delete all messages that a room has now, durably.",
        "parameters": [{"name": "room", "in": "path", "required": True, "schema": schema_of(RoomName)}],
        "responses": {"204": {"description": "They are deleted."}, **problems(400, 401, 403, 422, 501, 503)},
    }
