"""All routes: the API's, the page's and the metrics'; and the groups of routes that a program may choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, get_args
from urllib.parse import quote

import msgspec

from roomcast.api import openapi
from roomcast.api.answer import JSON, Answer
from roomcast.api.request import Request, Route
from roomcast.api.routes import ROUTES as API
from roomcast.api.routes import Routes
from roomcast.delivery.engine import Engine
from roomcast.http import page
from roomcast.http.metrics import metrics
from roomcast.model.errors import BadOption
from roomcast.model.near_miss import near_miss

Group = Literal[
    "follow",
    "history",
    "publish",
    "delete",
    "rooms",
    "followers",
    "me",
    "tickets",
    "revoke",
    "health",
    "metrics",
    "openapi",
    "page",
    "module",
]
"""Names of groups of routes."""


def describe(engine: Engine, request: Request, parsed: None, served: Routes | None = None) -> Answer:
    """`GET /openapi.json`: this API as OpenAPI 3.1, below the mount of `request`. `served` are the routes to
    describe, all if it is None. `engine` and `parsed` are not used."""
    document = openapi.document(quote(request.head.mount), list(page.names()))
    if served is not None:
        document["paths"] = {path: _of(document["paths"][path], served[path]) for path in served}
    return Answer(200, JSON, msgspec.json.encode(document))


def _of(item: Mapping[str, object], served: Mapping[str, Route]) -> Mapping[str, object]:
    """The methods in a path's description that are served."""
    return {
        method: operation for method, operation in item.items() if method.upper().replace("HEAD", "GET") in served
    }


ROUTES: Routes = {
    **API,
    "/metrics": {"GET": Route(metrics, needs="metrics", by_key_only=True, always_answered=True)},
    "/openapi.json": {"GET": Route(describe, needs_principal=False)},
    "/": {"GET": Route(page.serve, page.index, needs_principal=False)},
    "/roomcast.js": {"GET": Route(page.serve, page.module, needs_principal=False)},
    "/page/{name}": {"GET": Route(page.serve, page.asset, needs_principal=False)},
}
GROUPS: Mapping[Group, Sequence[tuple[str, str]]] = {
    "follow": [("GET", "/messages")],
    "history": [("GET", "/messages/{id}")],
    "publish": [("POST", "/messages"), ("POST", "/rooms/{room}")],
    "delete": [("DELETE", "/messages/{id}"), ("DELETE", "/rooms/{room}")],
    "rooms": [("GET", "/rooms")],
    "followers": [("GET", "/followers")],
    "me": [("GET", "/me")],
    "tickets": [("POST", "/tickets")],
    "revoke": [("POST", "/revocations")],
    "health": [("GET", "/healthz"), ("GET", "/readyz")],
    "metrics": [("GET", "/metrics")],
    "openapi": [("GET", "/openapi.json")],
    "page": [("GET", "/"), ("GET", "/page/{name}")],
    "module": [("GET", "/roomcast.js")],
}


def routes_in(groups: Sequence[Group]) -> Routes:
    """The routes of these `groups`. Raises `BadOption` for an unknown name, with a suggestion."""
    if isinstance(groups, str) or not groups:
        raise BadOption("routes must be a list with the name of at least one group, such as ('follow',)")
    for group in groups:
        if group not in GROUPS:
            raise BadOption(_unknown(group))
    served = {pair for group in groups for pair in GROUPS[group]}
    routes = {
        path: {method: route for method, route in handlers.items() if (method, path) in served}
        for path, handlers in ROUTES.items()
    }
    return _described({path: handlers for path, handlers in routes.items() if handlers})


def _described(routes: dict[str, dict[str, Route]]) -> Routes:
    """The routes, with an OpenAPI document that describes only these."""
    if "/openapi.json" in routes:
        route = ROUTES["/openapi.json"]["GET"]
        routes["/openapi.json"] = {"GET": route._replace(perform=partial(describe, served=routes))}
    return routes


def _unknown(group: object) -> str:
    meant = near_miss(str(group), get_args(Group), 0.6)
    hint = f"did you mean {meant}?" if meant else f"there are {', '.join(GROUPS)}"
    return f"{group!r:.100} is no group of routes: {hint}"
