"""`/openapi.json`: valid, complete, and true of the running server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.applications import Starlette
from starlette.routing import Mount

import roomcast
from roomcast.api.tickets import TicketRequest
from roomcast.auth.keys import new_key, sha256
from roomcast.http.all_routes import ROUTES
from tests.running import Running, start_roomcast

REPOSITORY = Path(__file__).parents[2]
FUZZING_SECONDS = 120
"""Seconds that a busy machine may take; an idle one takes five."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start_roomcast(tmp_path_factory.mktemp("server"))
    yield running
    running.end()


@pytest.fixture
def document(server: Running) -> dict[str, Any]:
    found = server.get("/openapi.json").json()
    assert isinstance(found, dict)
    return found


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == roomcast.__version__
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_and_method_is_in_the_document_and_no_other(document: dict[str, Any]) -> None:
    served = {path: {*handlers, *(["HEAD"] if "GET" in handlers else [])} for path, handlers in ROUTES.items()}
    described = {path: {method.upper() for method in item} for path, item in document["paths"].items()}
    assert described == served


def test_every_parameter_of_the_messages_is_described(document: dict[str, Any]) -> None:
    parameters = document["paths"]["/messages"]["get"]["parameters"]
    assert {p["name"]: p["in"] for p in parameters} == {
        "room": "query",
        "prefix": "query",
        "last_event_id": "query",
        "since": "query",
        "replay": "query",
        "after": "query",
        "before": "query",
        "limit": "query",
        "Last-Event-ID": "header",
    }
    assert all(parameter["description"] for parameter in parameters)


def test_the_example_in_the_document_is_accepted(server: Running, document: dict[str, Any]) -> None:
    example = document["paths"]["/messages"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert server.post(example).status_code == 201


async def test_the_example_of_a_ticket_is_accepted_and_the_answer_is_as_described(
    document: dict[str, Any],
) -> None:
    described = document["paths"]["/tickets"]["post"]
    content = described["requestBody"]["content"]["application/json"]
    assert set(content["schema"]["properties"]) == set(TicketRequest._fields)
    key = new_key("shop")
    row = roomcast.Key(name="shop", sha256=sha256(key), read=("*",), admin=True)
    live = roomcast.app(log="memory:", keys=(row,), secret="Zk8hQ2vN5xR1mB7cT4wY9pL3sD6fG0jA")
    async with live, httpx.AsyncClient(transport=httpx.ASGITransport(live), base_url="http://x") as client:
        sent = {"authorization": f"Bearer {key}"}
        answer = await client.post("/tickets", json=content["example"], headers=sent)
        assert answer.status_code == 201
        schema = described["responses"]["201"]["content"]["application/json"]["schema"]
        assert set(answer.json()) == set(schema["properties"])
        revoking = document["paths"]["/revocations"]["post"]["requestBody"]["content"]["application/json"]
        assert (await client.post("/revocations", json=revoking["example"], headers=sent)).status_code == 204
        told = (await client.get("/me", headers=sent)).json()
        [me] = document["paths"]["/me"]["get"]["responses"]["200"]["content"].values()
        assert list(told) == me["schema"]["required"]


async def test_the_document_names_the_path_of_the_mount() -> None:
    live = roomcast.app(log="memory:")
    async with live:
        transport = httpx.ASGITransport(Starlette(routes=[Mount("/a b/live", live)]))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            answer = await client.get("/a b/live/openapi.json")
            stored = await client.post("/a b/live/messages", json={"room": "a", "text": "x"})
            assert answer.json()["servers"] == [{"url": "/a%20b/live"}]
            assert stored.headers["location"].startswith("/a%20b/live/messages/")
            assert (await client.get(stored.headers["location"])).json() == stored.json()


def test_the_server_does_what_the_document_says(server: Running, tmp_path: Path) -> None:
    """Schemathesis, with all of its checks: documented statuses, content types, headers and schemas, valid data
    taken and invalid data refused, methods that are not there.

    `Accept` is the one thing set from outside: a stream never ends, and is tested by `test_follow`. No rights are
    configured here, so that `/tickets` and `/revocations` are 501, which Schemathesis takes for a mistake of the
    server."""
    server.publish("x")
    # A message that was deleted before is 410.
    accepted = ["2xx", "401", "403", "404", "409", "410", "429", "5xx"]
    (tmp_path / "schemathesis.toml").write_text(
        f"[checks.positive_data_acceptance]\nexpected-statuses = {accepted}\n"
        # That one of two parameters must be there is more than OpenAPI 3.1 can say.
        "[[operations]]\ninclude-name = ['GET /messages', 'HEAD /messages']\n"
        f"[operations.checks.positive_data_acceptance]\nexpected-statuses = {[*accepted, '422']}\n"
    )
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
            *("--header", "Accept: application/json", "--request-timeout", "20"),
            *("--exclude-path", "/tickets", "--exclude-path", "/revocations"),
            *("--checks", "all", "--mode", "all", "--max-examples", "30", "--seed", "1", "--no-color"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "SCHEMATHESIS_HOOKS": "tests.server.openapi_hooks"},
        capture_output=True,
        text=True,
        timeout=FUZZING_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "27 selected / 29 total" in done.stdout
    assert "Traceback" not in server.said()
