"""`/openapi.json`: the API as OpenAPI 3.1, made from the types that also check what is published."""

from __future__ import annotations

from collections.abc import Sequence

from roomcast.api.openapi import lists, messages, rights
from roomcast.api.openapi.parts import Json, get, head, ok, problem_responses, public, ref
from roomcast.api.openapi.schemas import schemas
from roomcast.version import __version__

_SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A key, a ticket or a token."},
    "basic": {"type": "http", "scheme": "basic", "description": "A key or a ticket as the password."},
    "ticket": {
        "type": "apiKey",
        "in": "query",
        "name": "ticket",
        "description": "For EventSource, which sends no headers: opens streams for a minute, then only resumes.",
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
            "/messages": {"get": messages.follow(), "head": head(messages.follow()), "post": messages.publish()},
            "/messages/{id}": {
                "get": messages.message(),
                "head": head(messages.message()),
                "delete": messages.delete_message(),
            },
            "/rooms/{room}": {"post": messages.post(), "delete": messages.delete_room()},
            "/me": {"get": rights.me(), "head": head(rights.me())},
            "/tickets": {"post": rights.ticket()},
            "/revocations": {"post": rights.revocation()},
            **{
                path: {"get": operation, "head": head(operation)}
                for path, operation in _others(page_files).items()
            },
        },
        "components": {
            "schemas": schemas(),
            "responses": problem_responses(),
            "securitySchemes": _SECURITY_SCHEMES,
        },
        "security": [{}, {"bearer": []}, {"basic": []}],
    }


def _others(page_files: Sequence[str]) -> dict[str, Json]:
    text = {"type": "string"}
    not_ready = {
        "503": {"description": "Not ready.", "content": {"application/json": {"schema": ref("NotReady")}}}
    }
    return {
        "/rooms": lists.rooms(),
        "/followers": lists.followers(),
        "/healthz": public("healthz", "Whether the process answers.", ok("application/json", ref("Health"))),
        "/readyz": get("readyz", "Whether the log answers and the tail is current.",
                        {**ok("application/json", ref("Ready")), **not_ready}, 400, 401, 422),
        "/metrics": get("metrics", "Prometheus metrics.", ok("text/plain", text), 400, 401, 403, 422, 503),
        "/openapi.json": public("describe", "This document.", ok("application/json", {"type": "object"}), 403),
        "/": public("page", "The page.", ok("text/html", text), 403),
        "/roomcast.js": public("module", "A module for any page.", ok("text/javascript", text), 403),
        "/page/{name}": {
            **public("asset", "A file of the page.", {"200": {"description": "The file."}}, 403, 404),
            "parameters": [
                {"name": "name", "in": "path", "required": True, "schema": {"enum": sorted(page_files)}}
            ],
        },
    }  # fmt: skip
