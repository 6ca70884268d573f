"""Behind a proxy the access log names the client, whichever way a request came in."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest

import roomcast
from tests.conftest import Serve
from tests.raw import Raw, request
from tests.running import Running

XFF = "X-Forwarded-For"


def lines(server: Running) -> list[str]:
    """The clients that asked for /healthz, in order."""
    server.get("/rooms")
    server.wait_until_it_says("GET /rooms")
    return re.findall(r"^\S+ (.*) GET /healthz", server.said(), re.MULTILINE)


def ask(server: Running, *fields: str) -> None:
    with Raw(server.port, request("GET", "/healthz", *fields)) as connection:
        assert connection.answer().status == 200


def test_the_client_behind_a_trusted_proxy_is_named_on_the_fast_path_and_by_h11(serve: Serve) -> None:
    server = serve("--log=memory:")
    ask(server, f"{XFF}: 203.0.113.1")
    ask(server, f"{XFF}: 6.6.6.6", f"{XFF}: 203.0.113.2")  # given twice: h11's
    ask(server, f"{XFF}: 203.0.113.3", "Expect: 100-continue")
    ask(server, f"{XFF}: \t203.0.113.4 , 127.0.0.1")
    ask(server, "Forwarded: for=6.6.6.6")
    ask(server, f"{XFF}: 6.6.6.6 POST /admin 200")
    assert lines(server) == [*(f"203.0.113.{number}" for number in range(1, 5)), "127.0.0.1", "127.0.0.1"]


def test_requests_of_one_connection_have_clients_of_their_own(serve: Serve) -> None:
    """A proxy sends those of many clients over a connection that it keeps."""
    server = serve("--log=memory:")
    with Raw(server.port) as connection:
        for number in (1, 2, 1):
            connection.send(request("GET", "/healthz", f"{XFF}: 203.0.113.{number}"))
            assert connection.answer().status == 200
        connection.send(request("GET", "/healthz"))
        assert connection.answer().status == 200
    assert lines(server) == ["203.0.113.1", "203.0.113.2", "203.0.113.1", "127.0.0.1"]


def test_the_header_forwarded_is_read_if_it_is_chosen(serve: Serve) -> None:
    server = serve("--open", "--log=memory:", "--forwarded-header=forwarded")
    ask(server, 'Forwarded: for="[2001:db8::1]";proto=https', f"{XFF}: 6.6.6.6")
    ask(server, f"{XFF}: 6.6.6.6")
    assert lines(server) == ["2001:db8::1", "127.0.0.1"]


def test_the_header_of_a_client_that_is_no_trusted_proxy_is_ignored(serve: Serve) -> None:
    server = serve("--open", "--log=memory:", "--trusted-proxy=10.0.0.0/8", "--trusted-proxy=::1")
    ask(server, f"{XFF}: 203.0.113.1")
    assert lines(server) == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("client", "noted"),
    [(("127.0.0.1", 1), "203.0.113.1"), (("198.51.100.1", 1), "198.51.100.1"), (None, "-")],
    ids=["a proxy", "a stranger", "nobody knows"],
)
async def test_in_somebody_elses_server_the_peer_is_who_the_host_says(
    caplog: pytest.LogCaptureFixture, client: tuple[str, int] | None, noted: str
) -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        pass

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/healthz",
        "headers": [(b"x-forwarded-for", b"203.0.113.1")],
    }
    with caplog.at_level(logging.INFO, "roomcast.access"):
        async with roomcast.app(log="memory:") as live:
            await live({**scope, "client": client}, receive, send)
    [record] = [record for record in caplog.records if record.name == "roomcast.access"]
    assert record.getMessage().startswith(f"{noted} GET /healthz 200 ")
