"""`/openapi.json`: the API as OpenAPI 3.1, put together from the rules that publishing is checked by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from roomcast.api.query import MAX_LIMIT, MAX_ROOMS
from roomcast.log.base import ROOMS_PAGE
from roomcast.model.draft import MAX_BATCH
from roomcast.model.fields import EventType, Publication, RoomName, UserName
from roomcast.model.shapes import Gap, Health, Id, Live, Message, NotReady, Page, Problem, Ready, Room, Rooms
from roomcast.version import __version__

Json = dict[str, Any]

_DURATION = {
    "type": "string",
    "pattern": "^(?=.)([0-9]{1,9}d)?([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?$",
    "examples": ["10m"],
}
_TIME = {"type": "string", "format": "date-time"}
_ARGUMENTS = re.compile(rb'("(?:#/components/schemas/)?[A-Z][A-Za-z]*)_[^"]*')
"""msgspec names `Message[Any]` Message_Any_, and here it is Message."""
_SHAPES = (
    Publication,
    Message[Any],
    Gap,
    Live,
    Page[Message[Any]],
    Rooms[Room[Any]],
    Health,
    Ready,
    NotReady,
    Problem,
)


def document(root_path: str, page_files: Sequence[str]) -> Json:
    """The description of the API as served under `root_path`, with a page that has these files."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "roomcast",
            "version": __version__,
            "summary": "Post to a room; every follower of the room has it a millisecond later.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": root_path or "/"}],
        "paths": {
            "/messages": {"get": _follow(), "head": _head(_follow()), "post": _publish()},
            "/messages/{id}": {"get": _message(), "head": _head(_message()), "delete": _delete_message()},
            "/rooms/{room}": {"post": _post(), "delete": _delete_room()},
            **{path: {"get": get, "head": _head(get)} for path, get in _others(page_files).items()},
        },
        "components": {"schemas": _schemas(), "responses": _problem_responses()},
    }


def _schemas() -> Json:
    """The server's shapes by their names. The fields of a message that a publisher wrote keep to the publisher's
    rules, and are left out where they were not given."""
    _, found = msgspec.json.schema_components(_SHAPES, ref_template="#/components/schemas/{name}")
    named = msgspec.json.decode(_ARGUMENTS.sub(rb"\1", msgspec.json.encode(found)))
    schemas: Json = {name: {**schema, "title": name} for name, schema in named.items()}
    publication, message = schemas["Publication"], schemas["Message"]
    publication["anyOf"] = [{"required": ["text"]}, {"required": ["data"]}]
    message["properties"] |= {name: _plain(field) for name, field in publication["properties"].items()}
    return schemas


def _publish() -> Json:
    batch = {"type": "array", "minItems": 1, "maxItems": MAX_BATCH, "items": _ref("Publication")}
    stored = {"oneOf": [_ref("Message"), {"type": "array", "items": _ref("Message")}]}
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
                "description": "The same key and request again stores nothing and answers as the first time.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[!-~]+$"},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [_ref("Publication"), batch]},
                    "example": {"text": "was geht ab in buxtehude?", "room": "developers"},
                },
                "application/x-ndjson": {"schema": {"type": "string", "description": "One message a line."}},
            },
        },
        "responses": {
            "201": {"description": "Stored, durably.", **answer},
            "200": {"description": "Stored before, under the same Idempotency-Key.", **answer},
            **_problems(400, 408, 413, 415, 422, 429, 503),
        },
    }


def _post() -> Json:
    return {
        **_publish(),
        "operationId": "post",
        "summary": "Post any text, or any JSON as a message's data: for shells and webhooks.",
        "parameters": [
            {"name": "room", "in": "path", "required": True, "schema": _type(RoomName)},
            _query("user", _type(UserName), "Who says it."),
            _query("type", _type(EventType), "The type of the event."),
            *_publish()["parameters"],
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {}, "example": {"status": "done"}},
                "text/plain": {"schema": {"type": "string", "minLength": 1}},
            },
        },
    }


def _prefix() -> Json:
    return {"anyOf": [_type(RoomName), {"const": ""}]}


def _follow() -> Json:
    stream = {"schema": {"type": "string", "description": "Messages and the events gap and live."}}
    return {
        "operationId": "follow",
        "summary": "Follow rooms: what is retained, then what comes; or a page of it as JSON.",
        "parameters": [
            {
                "name": "room",
                "in": "query",
                "description": "Repeat it to follow several rooms. A request names at least one room or prefix, "
                "and at most 64 together.",
                "style": "form",
                "explode": True,
                "schema": {"type": "array", "minItems": 1, "maxItems": MAX_ROOMS, "items": _type(RoomName)},
            },
            {
                "name": "prefix",
                "in": "query",
                "description": "Every room whose name begins so, also those that come later; empty: all rooms.",
                "style": "form",
                "explode": True,
                "schema": {"type": "array", "minItems": 1, "maxItems": MAX_ROOMS, "items": _prefix()},
            },
            _header("Last-Event-ID", "Resume after this id; what a browser's EventSource sends by itself."),
            _query("last_event_id", {"type": "string"}, "The same, for clients that cannot set headers; "
                   "lastEventId and Last-Event-ID, as polyfills add them, win over it."),
            _query("after", {"type": "string"}, "The same, as pages name it."),
            _query("since", {"anyOf": [_DURATION, _TIME]}, "Start with the first message stored at "
                   "or after this RFC 3339 time, or so long ago. Not together with replay."),
            _query("replay", {"type": "string", "pattern": "^(all|none|[0-9]{1,9})$", "default": "all"},
                   "Start with all that is retained, with nothing, or with the newest N."),
            _query("before", _type(Id), "Pages only: end before this id."),
            _query("limit", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": 100},
                   "Pages only: how many messages at most."),
        ],
        "responses": {
            "200": {
                "description": "A stream that goes on, or a page.",
                "headers": {"Link": {"schema": {"type": "string"}, "description": "RFC 8288: prev, next."}},
                "content": {
                    "text/event-stream": stream,
                    "application/x-ndjson": stream,
                    "application/json": {"schema": _ref("Page")},
                },
            },
            **_problems(406, 422, 503),
        },
    }  # fmt: skip


def _message() -> Json:
    return {
        "operationId": "message",
        "summary": "One message.",
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
        "responses": {**_ok("application/json", _ref("Message")), **_problems(404, 410, 503)},
    }


def _delete_message() -> Json:
    return {
        "operationId": "deleteMessage",
        "summary": "Delete a message, durably. Followers that have it keep it.",
        "parameters": _message()["parameters"],
        "responses": {"204": {"description": "It is deleted."}, **_problems(404, 410, 501, 503)},
    }


def _delete_room() -> Json:
    return {
        "operationId": "deleteRoom",
        "summary": "Delete all messages that a room has now, durably.",
        "parameters": [{"name": "room", "in": "path", "required": True, "schema": _type(RoomName)}],
        "responses": {"204": {"description": "They are deleted."}, **_problems(422, 501, 503)},
    }


def _others(page_files: Sequence[str]) -> dict[str, Json]:
    text = {"type": "string"}
    not_ready = {"503": {"description": "Not now.", "content": {"application/json": {"schema": _ref("NotReady")}}}}
    return {
        "/rooms": _rooms(_ref("Rooms")),
        "/healthz": _get("healthz", "Whether the process answers.", _ok("application/json", _ref("Health"))),
        "/readyz": _get("readyz", "Whether the log answers and the tail is current.",
                        {**_ok("application/json", _ref("Ready")), **not_ready}),
        "/metrics": _get("metrics", "Prometheus metrics.", _ok("text/plain", text), 503),
        "/openapi.json": _get("describe", "This document.", _ok("application/json", {"type": "object"})),
        "/": _get("page", "The page.", _ok("text/html", text)),
        "/roomcast.js": _get("module", "Follows and publishes, for any page.", _ok("text/javascript", text)),
        "/page/{name}": {
            **_get("asset", "A file of the page.", {"200": {"description": "The file."}}, 404),
            "parameters": [
                {"name": "name", "in": "path", "required": True, "schema": {"enum": sorted(page_files)}}
            ],
        },
    }  # fmt: skip


def _rooms(schema: Json) -> Json:
    page = _ok("application/json", schema)
    page["200"]["headers"] = {"Link": {"schema": {"type": "string"}, "description": "RFC 8288: next."}}
    return {
        **_get("rooms", "The rooms that hold messages or are followed, in pages.", page, 422, 503),
        "parameters": [
            _query("prefix", {"type": "string"}, "Only rooms whose names begin so."),
            _query(
                "sort", {"enum": ["name", "newest"], "default": "name"}, "By code points, or the newest first."
            ),
            _query("after", {"type": "string"}, "Behind this name; with sort=newest, before this id."),
            _query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": ROOMS_PAGE, "default": ROOMS_PAGE},
                "How many rooms at most.",
            ),
        ],
    }


def _get(name: str, summary: str, responses: Json, *problems: int) -> Json:
    return {"operationId": name, "summary": summary, "responses": {**responses, **_problems(*problems)}}


def _ok(media_type: str, schema: Json) -> Json:
    return {"200": {"description": "As asked.", "content": {media_type: {"schema": schema}}}}


def _head(get: Json) -> Json:
    """The same without bodies."""
    responses = {status: {"description": "The headers of GET."} for status in get["responses"]}
    return {**get, "operationId": f"{get['operationId']}Head", "responses": responses}


def _problems(*statuses: int) -> Json:
    names = {429: "TooMany", 503: "Unavailable"}
    return {str(status): {"$ref": f"#/components/responses/{names.get(status, 'Problem')}"} for status in statuses}


def _problem_responses() -> Json:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    retry_after = {"schema": {"type": "integer"}, "description": "Seconds after which to try again."}
    return {
        "Problem": {"description": "What is wrong and what to do.", "content": content},
        "Unavailable": {
            "description": "The log does not answer now, or answers hold too much memory.",
            "headers": {"Retry-After": retry_after},
            "content": content,
        },
        "TooMany": {
            "description": "The client has used up the rate at which it may publish.",
            "headers": {"Retry-After": retry_after},
            "content": content,
        },
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _type(rule: Any) -> Json:
    return msgspec.json.schema(rule)


def _plain(field: Json) -> Json:
    """A stored field without its default, which only a publisher may rely on."""
    return {name: value for name, value in field.items() if name != "default"}


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _header(name: str, description: str) -> Json:
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": description}
