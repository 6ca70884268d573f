"""`/openapi.json`: the API as OpenAPI 3.1, made from the types that also check what is published."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

import msgspec

from roomcast.api.followers import DEFAULT_PAGE, MAX_PAGE, MOST_BEHIND
from roomcast.api.query import MAX_LIMIT, MAX_ROOMS
from roomcast.api.tickets import LONGEST
from roomcast.log.base import ROOMS_PAGE
from roomcast.model.draft import MAX_BATCH
from roomcast.model.fields import EventType, Publication, RoomName, UserName
from roomcast.model.shapes import (
    FollowerInfo,
    Followers,
    Gap,
    Health,
    Id,
    Live,
    Message,
    NotReady,
    Page,
    Problem,
    Ready,
    Room,
    Rooms,
)
from roomcast.version import __version__

Json = dict[str, Any]

_DURATION = {
    "type": "string",
    "pattern": "^(?=.)([0-9]{1,9}d)?([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?$",
    "examples": ["10m"],
}
_TIME = {"type": "string", "format": "date-time"}
_ARGUMENTS = re.compile(rb'("(?:#/components/schemas/)?[A-Z][A-Za-z]*)_[^"]*')
"""Matches msgspec's name Message_Any_ of `Message[Any]`, which is Message here."""
_SHAPES = (
    Publication,
    Message[Any],
    Gap,
    Live,
    Page[Message[Any]],
    Rooms[Room[Any]],
    Followers[FollowerInfo[Any]],
    Health,
    Ready,
    NotReady,
    Problem,
)
_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, a ticket or a token."},
    "basic": {"type": "http", "scheme": "basic", "description": "A key or a ticket as the password."},
    "ticket": {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "For an EventSource, which sends no headers: opens streams for a minute, then resumes.",
    },
}


def document(root_path: str, page_files: Sequence[str]) -> Json:
    """The description of the API as served under `root_path`; `page_files` are the names of the page's files."""
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
            "/me": {"get": _me(), "head": _head(_me())},
            "/tickets": {"post": _ticket()},
            "/revocations": {"post": _revocation()},
            **{path: {"get": get, "head": _head(get)} for path, get in _others(page_files).items()},
        },
        "components": {
            "schemas": _schemas(),
            "responses": _problem_responses(),
            "securitySchemes": _SECURITY_SCHEMES,
        },
        "security": [{}, {"bearer": []}, {"basic": []}],
    }


@cache
def _schemas() -> Json:
    """The server's shapes by name, cached: making them takes 3 ms of the loop. A stored message's fields follow
    the publisher's rules, and are missing if the publisher did not give them."""
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
                "description": "A repeated request with the same key stores nothing and gets the first answer.",
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
            "200": {"description": "Already stored, under the same Idempotency-Key.", **answer},
            **_problems(400, 401, 403, 408, 413, 415, 422, 429, 503),
        },
    }


def _post() -> Json:
    return {
        **_publish(),
        "operationId": "post",
        "summary": "Post any text, or any JSON as a message's data: for shells and webhooks.",
        "parameters": [
            {"name": "room", "in": "path", "required": True, "schema": _type(RoomName)},
            _query("user", _type(UserName), "The user who says it."),
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
                "schema": {"type": "array", "minItems": 1, "maxItems": MAX_ROOMS, "items": _type(RoomName)},
            },
            {
                "name": "prefix",
                "in": "query",
                "description": "All rooms whose names begin with this, future ones included; empty: all rooms.",
                "style": "form",
                "explode": True,
                "schema": {"type": "array", "minItems": 1, "maxItems": MAX_ROOMS, "items": _prefix()},
            },
            _header("Last-Event-ID", "Resume after this id; a browser's EventSource sends it by itself."),
            _query("last_event_id", {"type": "string"}, "The same, for clients that cannot set headers; "
                   "lastEventId and Last-Event-ID, as polyfills add them, win over it."),
            _query("after", {"type": "string"}, "The same, in the links of pages."),
            _query("since", {"anyOf": [_DURATION, _TIME]}, "Start with the first message stored at "
                   "or after this RFC 3339 time, or within this duration. Not together with replay."),
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
            **_problems(400, 401, 403, 406, 422, 503),
        },
    }  # fmt: skip


def _message() -> Json:
    return {
        "operationId": "message",
        "summary": "One message.",
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}],
        "responses": {**_ok("application/json", _ref("Message")), **_problems(400, 401, 403, 404, 410, 422, 503)},
    }


def _me() -> Json:
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
    told = {"type": "object", "required": list(properties), "properties": properties}
    return _get("me", "The client's own rights.", _ok("application/json", told), 400, 401, 403, 422, 503)


def _ticket() -> Json:
    rooms = {"type": "array", "items": _type(RoomName), "default": []}
    name = {"anyOf": [_type(UserName), {"type": "null"}]}
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
        "user": {**name, "description": "The user of its messages; anonymous by default."},
        "seconds": {"type": "integer", "minimum": 1, "maximum": LONGEST, "default": 3600},
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
            **_problems(400, 401, 403, 408, 413, 415, 422, 501, 503),
        },
    }  # fmt: skip


def _revocation() -> Json:
    optional = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    given = {
        "sub": {**_type(UserName), "description": "The person whose tokens and tickets end."},
        "iss": {**optional, "description": "Only tokens and tickets of this issuer; by default of every issuer."},
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
            **_problems(400, 401, 403, 408, 413, 415, 422, 501, 503, 507),
        },
    }


def _delete_message() -> Json:
    return {
        "operationId": "deleteMessage",
        "summary": "Delete a message, durably. Followers that have it keep it.",
        "parameters": _message()["parameters"],
        "responses": {
            "204": {"description": "It is deleted."},
            **_problems(400, 401, 403, 404, 410, 422, 501, 503),
        },
    }


def _delete_room() -> Json:
    return {
        "operationId": "deleteRoom",
        "summary": "Delete all messages that a room has now, durably.",
        "parameters": [{"name": "room", "in": "path", "required": True, "schema": _type(RoomName)}],
        "responses": {"204": {"description": "They are deleted."}, **_problems(400, 401, 403, 422, 501, 503)},
    }


def _others(page_files: Sequence[str]) -> dict[str, Json]:
    text = {"type": "string"}
    not_ready = {"503": {"description": "Not now.", "content": {"application/json": {"schema": _ref("NotReady")}}}}
    return {
        "/rooms": _rooms(_ref("Rooms")),
        "/followers": _followers(_ref("Followers")),
        "/healthz": _free("healthz", "Whether the process answers.", _ok("application/json", _ref("Health"))),
        "/readyz": _get("readyz", "Whether the log answers and the tail is current.",
                        {**_ok("application/json", _ref("Ready")), **not_ready}, 400, 401, 422),
        "/metrics": _get("metrics", "Prometheus metrics.", _ok("text/plain", text), 400, 401, 403, 422, 503),
        "/openapi.json": _free("describe", "This document.", _ok("application/json", {"type": "object"}), 403),
        "/": _free("page", "The page.", _ok("text/html", text), 403),
        "/roomcast.js": _free("module", "A module for any page.", _ok("text/javascript", text), 403),
        "/page/{name}": {
            **_free("asset", "A file of the page.", {"200": {"description": "The file."}}, 403, 404),
            "parameters": [
                {"name": "name", "in": "path", "required": True, "schema": {"enum": sorted(page_files)}}
            ],
        },
    }  # fmt: skip


def _rooms(schema: Json) -> Json:
    page = _ok("application/json", schema)
    page["200"]["headers"] = {"Link": {"schema": {"type": "string"}, "description": "RFC 8288: next."}}
    return {
        **_get("rooms", "The rooms that hold messages or are followed, in pages.", page, 400, 401, 403, 422, 503),
        "parameters": [
            _query("prefix", {"type": "string"}, "Only rooms whose names begin with this."),
            _query(
                "sort", {"enum": ["name", "newest"], "default": "name"}, "By code point, or newest message first."
            ),
            _query("after", {"type": "string"}, "Begin after this name; with sort=newest, before this id."),
            _query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": ROOMS_PAGE, "default": ROOMS_PAGE},
                "How many rooms at most.",
            ),
        ],
    }


def _followers(schema: Json) -> Json:
    page = _ok("application/json", schema)
    page["200"]["headers"] = {"Link": {"schema": {"type": "string"}, "description": "RFC 8288: next."}}
    return {
        **_get("followers", "The followers and their positions, in pages.", page, 400, 401, 403, 422, 503),
        "parameters": [
            _query(
                "after",
                {"type": "string", "pattern": "^[0-9]{1,15}-[0-9]{1,3}-[0-9]{1,15}$"},
                "Of the link to a next page.",
            ),
            _query(
                "behind",
                {"type": "integer", "minimum": 1, "maximum": MOST_BEHIND},
                "Only with so many messages yet to pass.",
            ),
            _query(
                "limit",
                {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": DEFAULT_PAGE},
                "How many streams at most.",
            ),
        ],
    }


def _get(name: str, summary: str, responses: Json, *problems: int) -> Json:
    return {"operationId": name, "summary": summary, "responses": {**responses, **_problems(*problems)}}


def _free(name: str, summary: str, responses: Json, *problems: int) -> Json:
    """A route that needs no right."""
    return {**_get(name, summary, responses, *problems), "security": []}


def _ok(media_type: str, schema: Json) -> Json:
    return {"200": {"description": "As requested.", "content": {media_type: {"schema": schema}}}}


def _head(get: Json) -> Json:
    """The same without bodies."""
    responses = {status: {"description": "The headers of GET."} for status in get["responses"]}
    return {**get, "operationId": f"{get['operationId']}Head", "responses": responses}


def _problems(*statuses: int) -> Json:
    names = {401: "Unauthenticated", 429: "TooMany", 503: "Unavailable"}
    all = sorted({*statuses, 429}) if 401 in statuses else statuses  # a bad credential too many
    return {str(status): {"$ref": f"#/components/responses/{names.get(status, 'Problem')}"} for status in all}


def _problem_responses() -> Json:
    content = {"application/problem+json": {"schema": _ref("Problem")}}
    retry_after = {"schema": {"type": "integer"}, "description": "Seconds after which to retry."}
    return {
        "Problem": {"description": "The fault, and how to mend it.", "content": content},
        "Unauthenticated": {
            "description": "A credential is missing or not valid.",
            "headers": {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "RFC 6750."}},
            "content": content,
        },
        "Unavailable": {
            "description": "The log does not answer now, or answers use too much memory.",
            "headers": {"Retry-After": retry_after},
            "content": content,
        },
        "TooMany": {
            "description": "The client has used up its rate, or too many credentials of its address are not good.",
            "headers": {"Retry-After": retry_after},
            "content": content,
        },
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _type(rule: Any) -> Json:
    return msgspec.json.schema(rule)


def _plain(field: Json) -> Json:
    """A stored field's schema without the default, which is only for publishers."""
    return {name: value for name, value in field.items() if name != "default"}


def _query(name: str, schema: Json, description: str) -> Json:
    return {"name": name, "in": "query", "schema": schema, "description": description}


def _header(name: str, description: str) -> Json:
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": description}
