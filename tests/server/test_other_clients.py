"""Requests that other people's clients, pages and proxies were seen to send, and their needs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.observer import Observer
from tests.raw import ask, post, request
from tests.running import Running, start_roomcast, wait_for

NAMED = "https://a.example"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start_roomcast(tmp_path_factory.mktemp("server"), f"--allow-origin={NAMED}")
    yield running
    running.end()


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [("text/event-stream", "text/event-stream; charset=utf-8"), ("application/x-ndjson", "application/x-ndjson")],
)
def test_a_stream_says_its_charset_and_that_nothing_may_transform_it(
    server: Running, accept: str, content_type: str
) -> None:
    with Observer(server.port, "/messages?room=a", headers={"Accept": accept}) as follower:
        assert follower.headers["content-type"] == content_type
        assert follower.headers["cache-control"] == "no-store, no-transform"


def test_a_trailing_slash_means_the_same(server: Running) -> None:
    body = b'{"room":"slash","text":"x"}'
    assert ask(server.port, post(body).replace(b"/messages ", b"/messages/ ")).status == 201
    page = ask(server.port, request("GET", "/messages/?room=slash", "Accept: application/json"))
    assert len(page.json["messages"]) == 1
    assert ask(server.port, request("OPTIONS", "/messages/")).status == 204


@pytest.mark.parametrize("asked", ["traceparent", "x-requested-with, cache-control", "Content-Type,X-My-Own"])
@pytest.mark.parametrize("origin", [NAMED, "https://b.example"])
def test_a_preflight_allows_whatever_header_it_asks_for(server: Running, asked: str, origin: str) -> None:
    fields = (
        f"Origin: {origin}",
        "Access-Control-Request-Method: POST",
        f"Access-Control-Request-Headers: {asked}",
    )
    answer = ask(server.port, request("OPTIONS", "/messages", *fields))
    assert answer.status == 204
    assert answer.headers["access-control-allow-headers"] == asked
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD, POST, DELETE"
    assert answer.headers["vary"] == "Origin"
    named = {name: answer.headers.get(f"access-control-allow-{name}") for name in ("origin", "credentials")}
    expected = (NAMED, "true") if origin == NAMED else (None, None)
    assert (named["origin"], named["credentials"]) == expected


def test_a_named_origin_may_send_credentials_and_any_origin_may_not(
    server: Running, tmp_path_factory: pytest.TempPathFactory
) -> None:
    answer = ask(server.port, request("GET", "/healthz", f"Origin: {NAMED}"))
    assert answer.headers["access-control-allow-credentials"] == "true"
    anybody = start_roomcast(tmp_path_factory.mktemp("anybody"), "--open")
    try:
        answer = ask(anybody.port, request("GET", "/healthz", f"Origin: {NAMED}"))
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
    finally:
        anybody.end()


@pytest.mark.parametrize("name", ["lastEventId", "lastEventID", "Last-Event-ID", "last_event_id"])
def test_a_polyfill_resumes_by_its_own_name(server: Running, name: str) -> None:
    first, second = server.publish("one", "resumed"), server.publish("two", "resumed")
    with Observer(server.port, f"/messages?room=resumed&{name}={first['id']}") as follower:
        assert [event.json["id"] for event in follower.until_live()[:-1]][-1:] == [second["id"]]


def test_a_polyfills_id_beats_the_urls_own(server: Running) -> None:
    ids = [server.publish(text, "both")["id"] for text in "abc"]
    target = f"/messages?room=both&last_event_id={ids[0]}&lastEventId={ids[1]}"
    with Observer(server.port, target) as follower:
        assert [event.json["text"] for event in follower.until_live()[:-1]] == ["c"]


def test_bytes_that_are_not_http_are_answered_counted_and_logged(server: Running) -> None:
    before = server.metric('roomcast_requests_total{method="other",status="400"}') if _counted(server) else 0
    answer = ask(server.port, "GET /messages?room=größe HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert "percent-encode" in answer.json["detail"]
    assert server.metric('roomcast_requests_total{method="other",status="400"}') == before + 1
    wait_for(lambda: "gr%c3%b6%c3%9fe" in server.said().lower(), "its line in the access log")
    ask(server.port, request("BREW", "/messages"))
    assert 'method="BREW"' not in server.get("/metrics").text


def _counted(server: Running) -> bool:
    return 'method="other",status="400"' in server.get("/metrics").text


def test_an_unknown_coding_is_not_taken_for_chunked(server: Running) -> None:
    head = request("POST", "/messages", "Content-Type: application/json", "Transfer-Encoding: gzip, chunked")
    answer = ask(server.port, head + b"0\r\n\r\n")
    assert (answer.status, answer.json["type"]) == (501, "urn:problem-type:roomcast:unknown-coding")


def test_a_head_in_one_read_keeps_to_its_bound(server: Running) -> None:
    assert ask(server.port, request("GET", "/healthz", f"X: {'x' * 60_000}")).status == 200
    answer = ask(server.port, request("GET", "/healthz", f"X: {'x' * 70_000}"))
    assert (answer.status, answer.json["status"]) == (431, 431)
