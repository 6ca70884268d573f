"""All routes: the API's, and what is served beside it."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from roomcast.api import openapi
from roomcast.api.request import JSON, Answer, Request, Route
from roomcast.api.routes import ROUTES as API
from roomcast.api.routes import Routes
from roomcast.delivery.engine import Engine
from roomcast.http import page
from roomcast.http.metrics import metrics


def describe(engine: Engine, request: Request, asked: None) -> Answer:
    """What this API takes and gives, as OpenAPI 3.1."""
    document = openapi.document(quote(request.head.mount), list(page.names()))
    return Answer(200, JSON, msgspec.json.encode(document))


ROUTES: Routes = {
    **API,
    "/metrics": {"GET": Route(metrics, needs="metrics")},
    "/openapi.json": {"GET": Route(describe, asks_who=False)},
    "/": {"GET": Route(page.serve, page.index, asks_who=False)},
    "/roomcast.js": {"GET": Route(page.serve, page.module, asks_who=False)},
    "/page/{name}": {"GET": Route(page.serve, page.asset, asks_who=False)},
}
