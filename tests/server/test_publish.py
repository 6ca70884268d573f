"""`POST /messages` from outside: what is answered, what is stored, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.observer import Observer
from tests.raw import JSON, Raw, ask, ask_at_once, post, request
from tests.running import PATIENCE, Running, start_roomcast

ID = re.compile(r"[a-z0-9]{4,12}-[1-9][0-9]*")
EXAMPLE = {"text": "was geht ab in buxtehude?", "room": "developers"}
BODY = b'{"room":"a","text":"x"}'
PAGE = {"Accept": "application/json"}
HEAD_ONLY = f"POST /messages HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\n".encode()
_numbers = count()


def new(name: str = "room") -> str:
    """A name that no other test uses."""
    return f"{name}-{next(_numbers)}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start_roomcast(tmp_path_factory.mktemp("server"))
    yield running
    running.end()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with small limits, for the pages of two origins."""
    limits = ["--max-messages=10", "--max-bytes=2000", "--max-body=3000", "--max-message=1000"]
    origins = ["--allow-origin=https://a.example", "--allow-origin=https://b.example"]
    running = start_roomcast(tmp_path_factory.mktemp("small"), *limits, *origins)
    yield running
    running.end()


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=PATIENCE) as client:
        yield client


def history(server: Running, room: str) -> list[dict[str, Any]]:
    messages = server.get("/messages", params={"room": room, "limit": 1000}, headers=PAGE).json()["messages"]
    assert isinstance(messages, list)
    return messages


def newest(server: Running) -> int:
    return int(server.get("/readyz").json()["position"].rpartition("-")[2])


def problem(answer: httpx.Response, status: int) -> list[dict[str, str]]:
    """The errors of a refusal, which is as RFC 9457 has it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert list(told) == ["type", "title", "status", "detail", "errors"]
    assert told["status"] == status
    assert all(told[name] for name in ("type", "title", "detail"))
    assert all(sorted(error) == ["detail", "pointer"] for error in told["errors"])
    errors: list[dict[str, str]] = told["errors"]
    return errors


def test_a_message_is_answered_with_what_was_stored_and_where_it_is(server: Running) -> None:
    answer = server.post(EXAMPLE)
    assert answer.status_code == 201
    assert answer.headers["content-type"] == "application/json"
    stored = answer.json()
    assert list(stored) == ["id", "room", "user", "text", "timestamp"]
    assert {**EXAMPLE, "user": "anonymous"}.items() <= stored.items()
    assert ID.fullmatch(stored["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stored["timestamp"])
    assert answer.headers["location"] == f"/messages/{stored['id']}"
    assert server.get(answer.headers["location"]).json() == stored
    assert history(server, "developers")[-1] == stored


def test_all_fields_come_back_as_they_were_given(server: Running) -> None:
    given = {
        "room": new(),
        "user": "björn 𝔵",
        "text": "\0\x1b\u2028\r\n\x85",
        "type": "a.b",
        "data": {"a": [None, 1.5]},
    }
    stored = server.publish(**given)  # type: ignore[arg-type]
    assert given.items() <= stored.items()
    assert server.get(f"/messages/{stored['id']}").json() == stored
    with Observer(server.port, f"/messages?room={given['room']}") as follower:
        event = follower.next()
        assert (event.name, event.json) == ("a.b", stored)


@pytest.mark.parametrize(
    "data",
    [
        "null",
        "false",
        "1.10",
        "12345678901234567890123",
        "1e-999",
        '"\\ud83d\\ude00"',
        "1" * 4300,
        "[" * 100 + "]" * 100,
    ],
)
def test_every_reader_gets_data_as_it_was_written(server: Running, data: str) -> None:
    room = new()
    answer = ask(server.port, post(f'{{"room": "{room}", "data": {data}}}'.encode()))
    assert answer.status == 201
    written = f'"data":{data},"timestamp"'
    assert written.encode() in answer.body
    page = server.get("/messages", params={"room": room}, headers=PAGE)
    assert written in page.text
    assert written in server.get(answer.headers["location"]).text
    with Observer(server.port, f"/messages?room={room}") as follower:
        event = follower.next()
        assert written in event.data
        assert event.json == page.json()["messages"][0] == answer.json
    with Observer(server.port, f"/messages?room={room}", headers={"Accept": "application/x-ndjson"}) as lines:
        assert lines.next_row()["event"] == "retry"
        assert lines.next_row()["data"] == answer.json


def test_a_client_that_ends_lines_wherever_unicode_does_reads_every_line_whole(server: Running) -> None:
    room = new()
    stored = server.publish("a\u2028b\u2029c\x85d\x0be\x0cf\x1c", room, data={"\u2028": "\x85"}, user="x\u2028y")
    with httpx.stream("GET", f"{server.url}/messages", params={"room": room}) as stream:
        data = next(line for line in stream.iter_lines() if line.startswith("data: "))
    assert json.loads(data.removeprefix("data: ")) == stored


def test_a_batch_is_stored_in_order_with_consecutive_ids(server: Running) -> None:
    rooms = [new(), new()]
    batch = [{"room": rooms[n % 2], "text": str(n)} for n in range(1000)]
    as_array = server.post(batch)
    lines = "\r\n\r\n".join(map(json.dumps, batch)).encode() + b"\n"
    media_type = "Content-Type: application/x-ndjson; charset=utf-8"
    as_lines = ask(server.port, request("POST", "/messages", media_type, body=lines))
    for status, stored, location in (
        (as_array.status_code, as_array.json(), as_array.headers["location"]),
        (as_lines.status, as_lines.json, as_lines.headers["location"]),
    ):
        assert status == 201
        assert [message["text"] for message in stored] == [str(n) for n in range(1000)]
        epoch, first = stored[0]["id"].split("-")
        assert [message["id"] for message in stored] == [f"{epoch}-{int(first) + n}" for n in range(1000)]
        assert location == f"/messages/{epoch}-{first}"
    assert [m["text"] for m in history(server, rooms[1])] == [str(n) for n in range(1, 1000, 2)] * 2


def test_a_batch_of_one_is_answered_with_an_array(server: Running) -> None:
    assert isinstance(server.post([EXAMPLE]).json(), list)
    one_line = request("POST", "/messages", "Content-Type: application/x-ndjson", body=BODY)
    assert isinstance(ask(server.port, one_line).json, list)


@pytest.mark.parametrize(
    ("body", "status", "pointers"),
    [
        (b"{", 400, [""]),
        (b'\xef\xbb\xbf{"room":"a","text":"x"}', 400, [""]),
        (b'{"room":"a","text":"\xff"}', 400, [""]),
        (b'{"room":"a","text":"\\ud800"}', 400, [""]),
        (b'{"room":"a","data":%b}' % (b"[" * 101 + b"]" * 101), 400, [""]),
        (b"[" * 500_000, 400, [""]),
        (b'{"rooms":"a","text":"x"}', 422, ["/rooms", "/room"]),
        (b'[{"room":"a","text":"x"},{"room":"a\\n","text":""}]', 422, ["/1/room", "/1/text"]),
        (b"[]", 422, [""]),
        (b"[%b]" % b",".join([BODY] * 1001), 422, [""]),
        (b'[{"room":"a","text":"x"},{"room":"a","text":"%b"}]' % (b"x" * 65_536), 413, ["/1"]),
    ],
)
def test_bad_input_is_named_and_stores_nothing(
    http: httpx.Client, server: Running, body: bytes, status: int, pointers: list[str]
) -> None:
    before = newest(server)
    answer = http.post(f"{server.url}/messages", content=body, headers={"Content-Type": "application/json"})
    assert [error["pointer"] for error in problem(answer, status)] == pointers
    assert newest(server) == before


def test_a_batch_is_all_or_nothing(http: httpx.Client, server: Running) -> None:
    before = newest(server)
    for bad, status in ((b"{", 400), (b'{"room":"a"}', 422)):
        for media_type, body in (
            ("application/x-ndjson", b"\n".join([BODY, bad, BODY])),
            ("application/json", b"[" + b",".join([BODY, bad, BODY]) + b"]"),
        ):
            answer = http.post(f"{server.url}/messages", content=body, headers={"Content-Type": media_type})
            problem(answer, status)
    assert newest(server) == before
    assert server.post([json.loads(BODY)] * 3).status_code == 201
    assert newest(server) == before + 3


@pytest.mark.parametrize(
    "media_type",
    [
        None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
        "text/json", "application/jsonx", "application/json-seq", "application/problem+json", "json", "*/*",
        "application/json, text/plain",
    ],
)  # fmt: skip
def test_other_media_types_are_refused_and_the_valid_ones_named(
    http: httpx.Client, server: Running, media_type: str | None
) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    answer = http.post(f"{server.url}/messages", content=BODY, headers=headers)
    problem(answer, 415)
    assert "application/json or application/x-ndjson" in answer.json()["detail"]


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "Application/JSON", "application/json;charset=utf-8", "application/json ; x=y"],
)
def test_a_media_type_may_be_written_in_any_way(http: httpx.Client, server: Running, media_type: str) -> None:
    answer = http.post(f"{server.url}/messages", content=BODY, headers={"Content-Type": media_type})
    assert answer.status_code == 201


def test_a_compressed_body_is_refused(http: httpx.Client, server: Running) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    problem(http.post(f"{server.url}/messages", content=BODY, headers=headers), 415)


def test_a_batch_larger_than_the_retention_is_refused_whole(small: Running) -> None:
    before = newest(small)
    for batch in ([{"room": "a", "text": "x"}] * 11, [{"room": "a", "text": "x" * 700}] * 3):
        answer = small.post(batch)
        assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert newest(small) == before
    assert small.post([{"room": "a", "text": "x"}] * 10).status_code == 201


# Idempotency


def keyed(server: Running, key: str, body: object) -> httpx.Response:
    return server.post(body, headers={"Idempotency-Key": key})


@pytest.mark.parametrize("batch", [False, True])
def test_the_same_key_and_request_again_stores_nothing_and_answers_as_before(server: Running, batch: bool) -> None:
    key, room = new("key"), new()
    message = {"room": room, "text": "once", "data": [1.10]}
    first = keyed(server, key, [message, message] if batch else message)
    server.publish("between", room)
    again = keyed(server, key, [message, message] if batch else message)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.content == first.content
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["content-type"] == "application/json"
    assert [m["text"] for m in history(server, room)].count("once") == (2 if batch else 1)


def test_the_same_key_with_another_request_is_refused_and_stores_nothing(
    http: httpx.Client, server: Running
) -> None:
    key, message = new("key"), {"room": new(), "text": "x"}
    assert keyed(server, key, message).status_code == 201
    before = newest(server)
    for other in ({**message, "text": "y"}, {**message, "user": "u"}, [message], {**message, "data": None}):
        problem(keyed(server, key, other), 422)
    assert newest(server) == before
    assert keyed(server, key, message).status_code == 200


def test_the_same_bytes_in_another_media_type_are_another_request(http: httpx.Client, server: Running) -> None:
    """A line is answered with an array, and the same bytes as JSON with one message."""
    body = json.dumps({"room": new(), "text": "x"})
    headers = {"Content-Type": "application/json", "Idempotency-Key": new("key")}
    assert http.post(f"{server.url}/messages", content=body, headers=headers).status_code == 201
    before = newest(server)
    headers["Content-Type"] = "application/x-ndjson"
    problem(http.post(f"{server.url}/messages", content=body, headers=headers), 422)
    assert newest(server) == before
    headers["Content-Type"] = "Application/JSON; charset=utf-8"
    assert http.post(f"{server.url}/messages", content=body, headers=headers).status_code == 200


@pytest.mark.parametrize("posts", [2, 50])
def test_two_posts_with_one_key_at_the_same_moment_store_one(server: Running, posts: int) -> None:
    key, room = new("key"), new()
    body = json.dumps([{"room": room, "text": "one"}, {"room": room, "text": "two"}]).encode()
    answers = ask_at_once(server.port, [post(body, f"Idempotency-Key: {key}")] * posts)
    assert sorted(answer.status for answer in answers) == [200] * (posts - 1) + [201]
    assert len({answer.body for answer in answers}) == 1
    assert [message["text"] for message in history(server, room)] == ["one", "two"]


def test_of_two_requests_with_one_key_at_the_same_moment_one_is_refused(server: Running) -> None:
    key, room = new("key"), new()
    bodies = [json.dumps({"room": room, "text": str(n)}).encode() for n in range(20)]
    answers = ask_at_once(server.port, [post(body, f"Idempotency-Key: {key}") for body in bodies])
    assert sorted(answer.status for answer in answers) == [201] + [422] * 19
    assert len(history(server, room)) == 1


def test_a_key_is_compared_as_bytes(server: Running) -> None:
    room, base = new(), new("key")
    keys = [base, base.upper(), f'"{base}"', f"{base}/", base + "!#$%&'()*+,-./:;<=>?@[]^_`{|}~", "x" * 128]
    assert [keyed(server, key, {"room": room, "text": "x"}).status_code for key in keys] == [201] * len(keys)
    assert len(history(server, room)) == len(keys)


@pytest.mark.parametrize("key", ["", "x" * 129, "a b", "a\tb", "ü", "a\x7f", "a, b"])
def test_an_invalid_idempotency_key_is_refused(server: Running, key: str) -> None:
    before = newest(server)
    answer = ask(server.port, post(BODY, f"Idempotency-Key: {key}"))
    if "\x7f" in key:  # what HTTP itself refuses
        assert answer.status in (400, 422)
    else:
        assert [error["pointer"] for error in answer.json["errors"]] == ["/Idempotency-Key"]
        assert answer.status == 422
    assert newest(server) == before


def test_white_space_after_a_key_is_not_part_of_it(server: Running) -> None:
    key = new("key")
    assert [ask(server.port, post(BODY, f"Idempotency-Key: {key}{end}")).status for end in (" ", "", " \t")] == [
        201,
        200,
        200,
    ]


def test_two_idempotency_keys_are_refused(server: Running) -> None:
    assert ask(server.port, post(BODY, "Idempotency-Key: a", "Idempotency-Key: a")).status == 422


def test_a_refused_request_does_not_use_its_key_up(server: Running) -> None:
    key, room = new("key"), new()
    assert keyed(server, key, {"room": room}).status_code == 422
    assert keyed(server, key, [{"room": room, "text": "x"}] * 1001).status_code == 422
    assert ask(server.port, post(b"{", f"Idempotency-Key: {key}")).status == 400
    assert keyed(server, key, {"room": room, "text": "x"}).status_code == 201
    assert len(history(server, room)) == 1


def test_a_key_outlives_its_messages_and_is_answered_from_the_request(small: Running) -> None:
    key, room = new("key"), new()
    batch = [{"room": room, "text": "x"}, {"room": room, "text": "y"}]
    first = keyed(small, key, batch)
    for _ in range(8):
        small.publish("x", "other")
    assert keyed(small, key, batch).status_code == 200
    small.publish("the eleventh", "other")
    assert small.get(first.headers["location"]).status_code == 410
    assert small.get(f"/messages/{first.json()[1]['id']}").status_code == 200
    assert keyed(small, key, {"room": room, "text": "another"}).status_code == 422
    again = keyed(small, key, batch)
    assert (again.status_code, again.content) == (200, first.content)


# The body's arrival


def test_a_client_that_expects_100_continue_gets_it_before_its_body(server: Running) -> None:
    with Raw(server.port, HEAD_ONLY + b"Expect: 100-continue\r\nContent-Length: 23\r\n\r\n") as connection:
        assert connection.answer().status == 100
        connection.send(BODY)
        assert connection.answer().status == 201
        connection.send(post(BODY))
        assert connection.answer().status == 201


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (f"{JSON}\r\nContent-Length: 1048577", 413),
        ("Content-Type: text/plain\r\nContent-Length: 23", 415),
        (f"{JSON}\r\nContent-Length: 23\r\nIdempotency-Key: a b", 422),
    ],
)
def test_a_client_that_expects_100_continue_may_be_refused_without_its_body(
    server: Running, fields: str, status: int
) -> None:
    head = f"POST /messages HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n{fields}\r\n\r\n".encode()
    with Raw(server.port, head) as connection:
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (status, "close")
        assert connection.rest() == b""


def test_a_body_with_too_large_a_length_is_refused_before_it_arrives(server: Running) -> None:
    with Raw(server.port, HEAD_ONLY + b"Content-Length: 1048577\r\n\r\n") as connection:
        assert connection.answer().status == 413
        # The connection is still in step: the body is read past.
        connection.send(b"x" * 1_048_577 + post(BODY))
        assert connection.answer().status == 201


def test_a_body_without_end_is_refused_as_soon_as_it_is_too_large(small: Running) -> None:
    with Raw(small.port, HEAD_ONLY + b"Transfer-Encoding: chunked\r\n\r\n") as connection:
        for _ in range(4):
            connection.send(b"3e8\r\n" + b" " * 1000 + b"\r\n")
        assert connection.answer().status == 413


def test_a_body_may_be_as_large_as_its_limit(small: Running) -> None:
    whole = BODY + b" " * (3000 - len(BODY))
    assert ask(small.port, post(whole)).status == 201
    assert ask(small.port, post(whole + b" ")).status == 413
    chunked = [b"%x\r\n%b\r\n" % (len(part), part) for part in (whole[:1], whole[1:1500], whole[1500:])]
    with Raw(small.port, HEAD_ONLY + b"Transfer-Encoding: chunked\r\n\r\n") as connection:
        connection.send(b"".join(chunked) + b"0\r\n\r\n")
        assert connection.answer().status == 201


def test_a_message_has_a_limit_of_its_own(small: Running) -> None:
    assert small.post({"room": "a", "text": "x" * 900}).status_code == 201
    assert small.post({"room": "a", "text": "x" * 1000}).status_code == 413


# One message


def test_an_id_that_no_message_ever_had_is_not_found(server: Running) -> None:
    stored = server.publish("x")
    epoch, seq = str(stored["id"]).split("-")
    for id in (
        f"{epoch}-{int(seq) + 1000}",
        f"{epoch}-0",
        f"aaaa-{seq}",
        f"{epoch}-0{seq}",
        "x",
        "%00",
        f"{epoch}--1",
    ):
        problem(server.get(f"/messages/{id}"), 404)
    problem(server.get(f"/messages/{stored['id']}/"), 404)


def test_a_trimmed_message_is_gone(small: Running) -> None:
    stored = small.publish("x")
    assert small.get(f"/messages/{stored['id']}").json() == stored
    for _ in range(10):
        small.publish("y")
    answer = small.get(f"/messages/{stored['id']}")
    assert (answer.status_code, answer.headers["content-type"]) == (410, "application/problem+json")


# Methods, and pages of other origins


@pytest.mark.parametrize(
    ("target", "accept"),
    [
        ("/messages?room=a", "text/event-stream"),
        ("/messages?room=a", "application/x-ndjson"),
        ("/messages?room=a", "application/json"),
        ("/messages?room=", "application/json"),
        ("/messages?room=a", "image/png"),
        ("/rooms", "*/*"),
        ("/healthz", "*/*"),
        ("/openapi.json", "*/*"),
        ("/", "*/*"),
        ("/nothing", "*/*"),
    ],
)
def test_head_gives_the_headers_of_get_and_ends(server: Running, target: str, accept: str) -> None:
    answers = []
    for method in ("HEAD", "GET"):
        with Raw(server.port, request(method, target, f"Accept: {accept}")) as connection:
            answer = connection.answer(to_head=True)
            if method == "HEAD":
                connection.end()
                assert connection.rest() == b""
            answers.append((answer.status, {k: v for k, v in answer.headers.items() if k != "date"}))
    answers[1][1].pop("transfer-encoding", None)
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("DELETE", "/messages", "GET, POST, HEAD, OPTIONS"),
        ("PUT", "/messages/abcd-1", "GET, DELETE, HEAD, OPTIONS"),
        ("POST", "/rooms", "GET, HEAD, OPTIONS"),
        ("PATCH", "/metrics", "GET, HEAD, OPTIONS"),
        ("POST", "/", "GET, HEAD, OPTIONS"),
        ("TRACE", "/messages", "GET, POST, HEAD, OPTIONS"),
    ],
)
def test_another_method_is_refused_and_the_valid_ones_named(
    http: httpx.Client, server: Running, method: str, target: str, allowed: str
) -> None:
    answer = http.request(method, server.url + target)
    problem(answer, 405)
    assert answer.headers["allow"] == allowed


def test_options_names_the_methods(http: httpx.Client, server: Running) -> None:
    answer = http.options(f"{server.url}/messages")
    assert (answer.status_code, answer.headers["allow"]) == (204, "GET, POST, HEAD, OPTIONS")


def test_an_unknown_path_is_a_problem_for_any_method(http: httpx.Client, server: Running) -> None:
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        problem(http.request(method, f"{server.url}/nothing"), 404)


def test_a_format_that_is_not_offered_is_not_acceptable(server: Running) -> None:
    problem(server.get("/messages?room=a", headers={"Accept": "image/png"}), 406)


def test_a_page_of_this_machine_may_use_the_api_by_default(http: httpx.Client, server: Running) -> None:
    origin = {"Origin": "http://localhost:3000"}
    preflight = http.options(
        f"{server.url}/messages",
        headers={
            **origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,idempotency-key",
        },
    )
    assert preflight.is_success
    assert preflight.headers["access-control-allow-origin"] == origin["Origin"]
    assert "POST" in preflight.headers["access-control-allow-methods"]
    allowed = {name.strip() for name in preflight.headers["access-control-allow-headers"].split(",")}
    assert {"content-type", "idempotency-key"} <= allowed  # whatever was asked for
    answers = [
        *(server.post(body, headers=origin) for body in (EXAMPLE, {})),
        server.get("/nothing", headers=origin),
    ]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == origin["Origin"]
        exposed = {name.strip() for name in answer.headers["access-control-expose-headers"].split(",")}
        assert {"Location", "Link", "Retry-After"} <= exposed
        assert "Origin" in answer.headers["vary"]
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.example", True),
        ("https://b.example", True),
        ("http://a.example", False),
        ("https://a.example:8443", False),
        ("https://a.example.evil.example", False),
        ("null", False),
        (None, False),
    ],
)
def test_a_page_of_chosen_origins_may_use_the_api_and_no_other(
    http: httpx.Client, small: Running, origin: str | None, allowed: bool
) -> None:
    headers = {"Accept": "application/json"} | ({"Origin": origin} if origin else {})
    answers = [
        http.get(f"{small.url}/messages?room=a", headers=headers),
        http.get(f"{small.url}/messages?room=", headers=headers),
        http.get(f"{small.url}/nothing", headers=headers),
        http.post(f"{small.url}/messages", json=EXAMPLE, headers=headers),
        http.options(f"{small.url}/messages", headers={**headers, "Access-Control-Request-Method": "POST"}),
    ]
    with Observer(small.port, "/messages?room=a", headers={"Origin": origin} if origin else {}) as follower:
        pages = [*(answer.headers for answer in answers), follower.headers]
    for page in pages:
        varies = [name.strip() for name in page["vary"].split(",")]
        assert varies.count("Origin") == 1
        assert page.get("access-control-allow-origin") == (origin if allowed else None)


def test_a_server_over_sqlite_answers_the_same(tmp_path: Path) -> None:
    server = start_roomcast(tmp_path, "--log=sqlite:test.db", "--max-messages=10")
    try:
        test_the_same_key_and_request_again_stores_nothing_and_answers_as_before(server, True)
        test_two_posts_with_one_key_at_the_same_moment_store_one(server, 50)
        test_of_two_requests_with_one_key_at_the_same_moment_one_is_refused(server)
        test_a_key_outlives_its_messages_and_is_answered_from_the_request(server)
        test_a_refused_request_does_not_use_its_key_up(server)
        test_a_trimmed_message_is_gone(server)
    finally:
        server.end()
