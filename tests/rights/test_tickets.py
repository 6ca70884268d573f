"""`POST /tickets`: the tickets that each client can get, and what they allow."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.rights.serving import (
    ALL,
    FOUR,
    NARROW,
    OTHER_SECRETS,
    PAGE,
    READER,
    SSE,
    WRITER,
    Way,
    bearer,
    configured,
    get,
    publish,
    request,
    ticket,
    two_ways,
)


def _ask(way: Way, body: object, *fields: str) -> Any:
    return way.ask(publish(body, *fields, target="/tickets"))


def test_a_ticket_opens_the_stream_of_its_url(way: Way) -> None:
    body = {"rooms": ["user/42", "news ü"], "publish": ["chat/7"], "sub": "42", "user": "u"}
    answer = _ask(way, body, bearer(ALL))
    assert (answer.status, answer.headers["cache-control"]) == (201, "no-store")
    told = answer.json
    assert (told["opens_in"], told["ends_in"]) == (60, 3600)
    assert told["url"] == f"/messages?room=user%2F42&room=news+%C3%BC&ticket={told['ticket']}"
    with way.open(get(told["url"], SSE)) as stream:
        assert b'"expires_in":36' in stream.until(b'"expires_in":36')
    stored = way.ask(publish({"room": "chat/7", "text": "x"}, bearer(told["ticket"])))
    assert (stored.status, stored.json["user"]) == (201, "u")
    assert way.ask(get("/messages?room=user/42", PAGE, bearer(told["ticket"]))).status == 200


def test_a_ticket_only_for_publishing_has_no_url(way: Way) -> None:
    told = _ask(way, {"publish": ["chat/7"], "sub": "42"}, bearer(ALL)).json
    assert "url" not in told
    stored = way.ask(publish({"room": "chat/7", "text": "x"}, bearer(told["ticket"])))
    assert stored.json["user"] == "anonymous"
    assert _ask(way, {"rooms": ["user/42"]}, bearer(NARROW)).status == 201
    assert _ask(way, {"publish": ["chat/7"], "sub": "42"}, bearer(NARROW)).status == 201


ASKERS: tuple[tuple[str, object, tuple[str, ...], int, list[str]], ...] = (
    ("a stranger", {"rooms": ["public/a"]}, (), 401, []),
    ("a bad credential", {"rooms": ["public/a"]}, (bearer("x"),), 401, []),
    ("a ticket", {"rooms": ["user/42"]}, (bearer(ticket("user/42", seconds=80_000)),), 403, []),
    ("another's room", {"rooms": ["user/42", "user/43"]}, (bearer(NARROW),), 403, ["/rooms/1"]),
    ("a wider prefix", {"prefixes": ["team/"]}, (bearer(NARROW),), 403, ["/prefixes/0"]),
    ("a prefix of all", {"prefixes": [""]}, (bearer(FOUR),), 403, ["/prefixes/0"]),
    ("strangers' room", {"rooms": ["public/a"]}, (bearer(NARROW),), 403, ["/rooms/0"]),
    ("a room to publish", {"publish": ["user/42"], "sub": "1"}, (bearer(READER),), 403, ["/publish/0"]),
    ("a room to read", {"rooms": ["user/42"]}, (bearer(WRITER),), 403, ["/rooms/0"]),
    ("another user", {"rooms": ["user/42"], "user": "admin"}, (bearer(NARROW),), 403, ["/user"]),
)  # fmt: skip


@pytest.mark.parametrize(("who", "body", "fields", "status", "places"), ASKERS, ids=[row[0] for row in ASKERS])
def test_a_ticket_grants_no_more_than_its_issuer_has(
    way: Way, who: str, body: object, fields: tuple[str, ...], status: int, places: list[str]
) -> None:
    answer = _ask(way, body, *fields)
    assert (answer.status, [fault["pointer"] for fault in answer.json["errors"]]) == (status, places)
    assert ("www-authenticate" in answer.headers) == (status in (401, 403))


WRONG: tuple[tuple[object, int, str], ...] = (
    ({}, 422, "/rooms"),
    ({"rooms": []}, 422, "/rooms"),
    ({"rooms": "user/42"}, 422, "/rooms"),
    ({"rooms": ["team/*"]}, 422, "/rooms"),
    ({"rooms": [""]}, 422, "/rooms"),
    ({"rooms": [1]}, 422, "/rooms"),
    ({"rooms": ["$x"]}, 422, "/rooms"),
    ({"rooms": ["a\u0000"]}, 422, "/rooms"),
    ({"rooms": [f"r{n}" for n in range(65)]}, 422, "/rooms"),
    ({"rooms": ["x" * 128 + str(n) for n in range(10, 40)]}, 422, "/rooms"),
    ({"rooms": ["ü" * 110 + str(n) for n in range(10, 40)]}, 422, "/rooms"),
    ({"rooms": ["a"], "prefixes": ["team/*"]}, 422, "/prefixes"),
    ({"publish": ["a"]}, 422, "/sub"),
    ({"publish": ["a\u200bb"], "sub": "1"}, 422, "/publish/0"),
    ({"rooms": ["a"], "sub": ""}, 422, "/sub"),
    ({"rooms": ["a"], "sub": "x" * 129}, 422, "/sub"),
    ({"rooms": ["a"], "sub": "a\nb"}, 422, "/sub"),
    ({"rooms": ["a"], "sub": 42}, 422, "/sub"),
    ({"rooms": ["a"], "user": "\u007f"}, 422, "/user"),
    *(
        ({"rooms": ["a"], "seconds": seconds}, 422, "/seconds")
        for seconds in (0, -1, 86_401, 1.5, "60", True, None)
    ),
    ({"rooms": ["a"], "second": 60}, 422, "/second"),
    ({"rooms": ["a"], "a/b~": 60}, 422, "/a~1b~0"),
    ([], 422, ""),
    (b"", 400, ""),
    (b"{", 400, ""),
    (b"\xff", 400, ""),
    (b"[" * 100_000, 400, ""),
    (b'{"rooms": ["a"], "seconds": 1e400}', 400, ""),
)


@pytest.mark.parametrize(("body", "status", "place"), WRONG, ids=range(len(WRONG)))
def test_the_faults_of_a_requested_ticket_are_named(way: Way, body: object, status: int, place: str) -> None:
    answer = _ask(way, body, bearer(ALL))
    assert answer.status == status, answer.body
    assert answer.json["errors"][0]["pointer"] == place


def test_a_form_cannot_ask_for_a_ticket(way: Way) -> None:
    data = request("POST", "/tickets", "Content-Type: text/plain", bearer(ALL), body=b'{"rooms": ["a"]}')
    assert way.ask(data).status == 415


def test_39_a_ticket_in_a_url_opens_only_streams(way: Way) -> None:
    sent = ticket("user/42", publish=["chat/7"], sub="42")
    for data in (
        publish({"room": "chat/7", "text": "x"}, target=f"/messages?ticket={sent}"),
        request("POST", f"/rooms/chat/7?ticket={sent}", "Content-Type: text/plain", body=b"x"),
        get(f"/me?ticket={sent}"),
        get(f"/rooms?ticket={sent}"),
        get(f"/metrics?ticket={sent}"),
        get(f"/messages?room=user/42&ticket={sent}", PAGE),
    ):
        answer = way.ask(data)
        assert answer.status == 422, data
        assert b"bearer" in answer.body
        assert sent.encode() not in answer.body


def test_39_a_ticket_of_another_secret_or_of_a_removed_key_is_refused(way: Way) -> None:
    assert way.ask(get("/messages?room=user/42", bearer(ticket("user/42", secrets=OTHER_SECRETS)))).status == 401


def test_39_not_one_bit_of_a_ticket_can_be_changed(way: Way) -> None:
    text = ticket("user/42")
    raw = base64.urlsafe_b64decode(text[5:] + "=" * (-len(text[5:]) % 4))
    for bit in range(0, len(raw) * 8, 41):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        sent = "rct1_" + base64.urlsafe_b64encode(changed).decode().rstrip("=")
        assert way.ask(get("/me", bearer(sent))).status == 401, bit
    for spelled in (f"{text}=", f"{text}.", text.replace("rct1_", "rct2_"), text.replace("rct1_", "RCT1_")):
        assert way.ask(get("/me", bearer(spelled))).status == 401, spelled


def test_38_a_ticket_resumes_after_a_kill_and_on_another_server(tmp_path: Path) -> None:
    """A resume with the header, long after the ticket opens streams."""
    flags = [f"--config={configured(tmp_path)}"]
    sent = ticket("user/42", age=1_000)
    with two_ways(tmp_path, *flags, log="sqlite:a.db") as (way, _):
        first, second = (
            way.ask(publish({"room": "user/42", "text": text}, bearer(ALL))).json["id"] for text in "ab"
        )
        way.running.process.kill()
    for file in ("a.db", "b.db"):
        with two_ways(tmp_path, *flags, log=f"sqlite:{file}") as ways:
            for way in ways:
                target = f"/messages?room=user/42&ticket={sent}"
                with way.open(get(target, SSE, f"Last-Event-ID: {first}")) as stream:
                    told = stream.until(b"event: live")
                assert (second.encode() in told) == (file == "a.db")
                assert json.dumps("a").encode() not in told
                assert way.ask(get(target, SSE)).status == 401
