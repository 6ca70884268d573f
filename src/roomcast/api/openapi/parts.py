"""The parts of a description that many routes share."""

from __future__ import annotations

from typing import Any

import msgspec

from roomcast.model.fields import RoomName

Json = dict[str, Any]


def ref(name: str) -> Json:
    """A reference to the schema with this `name`."""
    return {"$ref": f"#/components/schemas/{name}"}


def schema_of(rule: Any) -> Json:
    """The JSON Schema of `rule`, a type with constraints such as `RoomName`."""
    return msgspec.json.schema(rule)


def prefix() -> Json:
    """The JSON Schema of the beginning of a room's name."""
    return {"anyOf": [schema_of(RoomName), {"const": ""}]}


def query_parameter(name: str, schema: Json, description: str) -> Json:
    """The optional parameter `name` of a query, with the `schema` of its value and a `description`."""
    return {"name": name, "in": "query", "schema": schema, "description": description}


def header_parameter(name: str, description: str) -> Json:
    """The optional header field `name`, which may hold any text, with a `description`."""
    return {"name": name, "in": "header", "schema": {"type": "string"}, "description": description}


def get(name: str, summary: str, responses: Json, *statuses: int) -> Json:
    """A `GET` whose operation id is `name`, with a `summary`. `responses` are those of success, by status, and
    `statuses` are those of its errors."""
    return {"operationId": name, "summary": summary, "responses": {**responses, **problems(*statuses)}}


def public(name: str, summary: str, responses: Json, *statuses: int) -> Json:
    """A `GET` that needs no right. `name`, `summary`, `responses` and `statuses` are those of `get`."""
    return {**get(name, summary, responses, *statuses), "security": []}


def ok(media_type: str, schema: Json) -> Json:
    """The response 200 with a body of this `media_type` and `schema`, by status."""
    return {"200": {"description": "As requested.", "content": {media_type: {"schema": schema}}}}


def head(operation: Json) -> Json:
    """The `HEAD` of a `GET`: its `operation` without the bodies of the responses."""
    responses = {status: {"description": "The headers of GET."} for status in operation["responses"]}
    return {**operation, "operationId": f"{operation['operationId']}Head", "responses": responses}


def problems(*statuses: int) -> Json:
    """References to the error responses with these `statuses`, by status. 429 goes with 401: an address that sends
    too many bad credentials gets it."""
    names = {401: "Unauthenticated", 429: "TooMany", 503: "Unavailable"}
    all = sorted({*statuses, 429}) if 401 in statuses else statuses
    return {str(status): {"$ref": f"#/components/responses/{names.get(status, 'Problem')}"} for status in all}


def problem_responses() -> Json:
    """The responses that `problems` refers to, by name."""
    content = {"application/problem+json": {"schema": ref("Problem")}}
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
            "description": "The client has used up its rate, or its address has sent too many bad credentials.",
            "headers": {"Retry-After": retry_after},
            "content": content,
        },
    }
