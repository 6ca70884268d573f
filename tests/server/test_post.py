"""`POST /rooms/{room}`: the first command that everybody tries, and webhooks as they are sent."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import require
from tests.raw import ask, request
from tests.running import Running, start_roomcast

GITHUB = (
    b'{\n  "zen": "Keep it logically awesome.",\n  "hook_id": 12345678901234567890,\n'
    b'  "hook": {"type": "Repository"}\n}'
)
ALERTMANAGER = (
    b'{"version":"4","groupKey":"{}:{alertname=\\"Down\\"}","status":"firing","receiver":"web",'
    b'"alerts":[{"status":"firing","labels":{"alertname":"Down"},"startsAt":"2026-11-26T08:00:00.000Z"}]}'
)
STRIPE = (
    b'{"id": "evt_1", "object": "event", "data": {"object": {"amount": 2000, "currency": "usd"}}, '
    b'"type": "charge.succeeded"}'
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start_roomcast(tmp_path_factory.mktemp("server"))
    yield running
    assert "Traceback" not in running.said()
    running.end()


def post(server: Running, target: str, body: bytes, *fields: str) -> Any:
    return ask(server.port, request("POST", target, *fields, body=body))


def test_the_simplest_curl_command_publishes_a_message(server: Running) -> None:
    url = f"http://localhost:{server.port}/rooms/ops"
    said = subprocess.run(
        [require("curl"), "-sS", "-d", "Backup done", url], capture_output=True, check=True
    ).stdout
    stored = json.loads(said)
    assert (stored["room"], stored["user"], stored["text"]) == ("ops", "anonymous", "Backup done")
    assert server.get(f"/messages/{stored['id']}").json() == stored


@pytest.mark.parametrize("body", [GITHUB, ALERTMANAGER, STRIPE, b"null", b"[1, 2]", b'"text"', b"-0"])
def test_the_json_of_any_webhook_is_kept_as_data_to_the_digit(server: Running, body: bytes) -> None:
    answer = post(server, "/rooms/hooks?user=ci&type=hook", body, "Content-Type: application/json; charset=utf-8")
    assert answer.status == 201
    assert (answer.json["user"], answer.json["type"], "text" in answer.json) == ("ci", "hook", False)
    assert b'"data":' + b"".join(json_pieces(body)) in answer.body
    assert answer.headers["location"] == f"/messages/{answer.json['id']}"


def json_pieces(body: bytes) -> Iterator[bytes]:
    """Without white space between tokens, and nothing else changed."""
    inside = False
    for n in range(len(body)):
        one = body[n : n + 1]
        if one == b'"' and body[n - 1 : n] != b"\\":
            inside = not inside
        if inside or one not in (b" ", b"\n"):
            yield one


@pytest.mark.parametrize(
    ("target", "room"),
    [
        ("/rooms/a/b", "a/b"),
        ("/rooms/a%2Fb", "a/b"),
        ("/rooms/gr%C3%BC%C3%9Fe", "grüße"),
        ("/rooms/100%2525", "100%25"),
        ("/rooms/a+b", "a+b"),
        ("/rooms/a/", "a/"),
    ],
)
def test_the_room_is_the_rest_of_the_path_decoded_once(server: Running, target: str, room: str) -> None:
    assert post(server, target, b"x").json["room"] == room


@pytest.mark.parametrize(
    ("target", "body", "fields", "status"),
    [
        ("/rooms/a", b"", (), 422),
        ("/rooms/a", b"\xff", (), 400),
        ("/rooms/a", b"{", ("Content-Type: application/json",), 400),
        ("/rooms/a", b"", ("Content-Type: application/json",), 400),
        ("/rooms/a", b"x", ("Content-Type: multipart/form-data; boundary=x",), 415),
        ("/rooms/a", b"x", ("Content-Encoding: gzip",), 415),
        ("/rooms/$a", b"x", (), 422),
        ("/rooms/%ff", b"x", (), 422),
        ("/rooms/a%0a", b"x", (), 422),
        (f"/rooms/{'x' * 129}", b"x", (), 422),
        ("/rooms/a?type=gap", b"x", (), 422),
        ("/rooms/a?usr=x", b"x", (), 422),
        ("/rooms/a?user=", b"x", (), 422),
        ("/rooms/a", b"x" * 64_001, (), 413),
        ("/rooms/a", b"[" * 101 + b"]" * 101, ("Content-Type: application/json",), 400),
    ],
)
def test_a_faulty_post_is_refused(
    server: Running, target: str, body: bytes, fields: tuple[str, ...], status: int
) -> None:
    before = server.metric("roomcast_messages_published_total")
    assert post(server, target, body, *fields).status == status
    assert server.metric("roomcast_messages_published_total") == before


def test_a_key_stores_once_and_belongs_to_the_whole_request(server: Running) -> None:
    key = "Idempotency-Key: once"
    first, again = post(server, "/rooms/a", b"x", key), post(server, "/rooms/a", b"x", key)
    assert (first.status, again.status) == (201, 200)
    assert first.body == again.body
    for target in ("/rooms/b", "/rooms/a?user=b", "/rooms/a?type=b"):
        assert post(server, target, b"x", key).status == 422


def test_a_post_to_another_path_is_told_where_to_post(server: Running) -> None:
    answer = post(server, "/ops", b"x")
    assert (answer.status, "/rooms/" in answer.json["detail"]) == (404, True)
    assert ask(server.port, request("GET", "/rooms/a")).headers["allow"] == "POST, DELETE, OPTIONS"
