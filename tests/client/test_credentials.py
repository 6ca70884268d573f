"""Both clients with a server that has rights: fresh credentials, and the end of a credential."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import roomcast
from roomcast.auth.keys import sha256
from roomcast.client import Client, Live, Message
from roomcast.client.stream_state import StreamState
from roomcast.model import errors
from roomcast.model.errors import Forbidden, NotOffered, RoomcastError, TooMany, Unauthenticated
from tests.client.conftest import KEY, MakeClient
from tests.client.scripted import Connection, ScriptedServer, aside
from tests.running import PATIENCE, Running, start_roomcast

PROBLEM = "Content-Type: application/problem+json"


class Tickets:
    """Returns a new ticket at each call, and counts the calls."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url
        self._seconds = seconds
        self.given = 0

    def __call__(self) -> str:
        self.given += 1
        with Client(self._url, auth=KEY) as shop:
            return shop.ticket("orders", seconds=self._seconds).ticket


def problem(kind: str, detail: str) -> bytes:
    return json.dumps({"type": f"urn:problem-type:roomcast:{kind}", "detail": detail}).encode()


def refuse(connection: Connection, detail: str = "expired") -> None:
    connection.answer("401 Unauthorized", PROBLEM, body=problem("unauthenticated", detail))


def numbered(kind: str) -> Callable[[], Any]:
    """Returns `first`, `second`, …: a function or a coroutine function, for `auth`."""
    names = iter(["first", "second", "third", "fourth", "fifth"])

    async def soon() -> str:
        return next(names)

    return soon if kind == "async" else lambda: next(names)


def stored(seq: int, room: str = "a") -> str:
    told = {"id": f"x-{seq}", "room": room, "user": "u", "text": "t", "timestamp": "2026-11-22T06:27:00Z"}
    return f"id: x-{seq}\ndata: {json.dumps(told)}\n\n"


def end(seq: int, reason: str, retry: int = 60_000) -> str:
    return f'id: x-{seq}\nevent: roomcast.end\ndata: {{"reason": "{reason}"}}\n\nretry: {retry}\n'


def base(scripted: ScriptedServer) -> str:
    return scripted.url.removesuffix("/events")


def test_the_exported_errors_are_those_of_the_server() -> None:
    assert roomcast.Unauthenticated is errors.Unauthenticated
    assert roomcast.Forbidden is errors.Forbidden


def test_a_stream_outlives_its_tickets_without_a_gap(guarded: Running, client: MakeClient) -> None:
    tickets = Tickets(guarded.url, seconds=1)
    enough = threading.Event()

    def publish() -> int:
        with Client(guarded.url, auth=KEY) as shop:
            for n in itertools.count():
                shop.publish("orders", text=str(n))
                if enough.wait(0.01):
                    return n + 1
        raise AssertionError

    publishing = aside(publish)
    heard: list[str | None] = []
    lives: list[Live] = []
    for item in client(guarded.url, auth=tickets).follow("orders"):
        if isinstance(item, Message):
            heard.append(item.text)
        elif isinstance(item, Live):
            lives.append(item)
        if len(lives) == 3:
            enough.set()
        if publishing.done() and len(heard) == publishing.result():
            break
    assert heard == [str(n) for n in range(len(heard))]
    assert tickets.given == len(lives)
    assert all(live.expires_in is not None and 0 <= live.expires_in <= 2 for live in lives)


def test_a_credential_that_ended_for_good_raises_the_servers_error(guarded: Running, client: MakeClient) -> None:
    ticket = Tickets(guarded.url, seconds=1)()
    one = client(guarded.url, auth=ticket)
    stream = one.follow("orders")
    assert isinstance(next(stream), Live)
    with pytest.raises(Unauthenticated, match="ticket-expired"):
        next(stream)
    with pytest.raises(Unauthenticated, match="ticket-expired"):
        one.publish("orders", text="x")
    with pytest.raises(Unauthenticated, match="ticket-expired"):
        one.history("orders")
    with pytest.raises(Unauthenticated, match="ticket-expired"):
        one.rooms()


def test_a_missing_right_raises_at_once_and_names_the_room(guarded: Running, client: MakeClient) -> None:
    tickets = Tickets(guarded.url, seconds=60)
    one = client(guarded.url, auth=tickets)
    calls: list[Callable[[], Any]] = [
        lambda: next(one.follow("orders", "news")),
        lambda: one.history("orders", "news"),
        lambda: one.publish("news", text="x"),
    ]
    for call in calls:
        before = tickets.given
        with pytest.raises(Forbidden) as caught:
            call()
        assert tickets.given == before + 1
        assert "news" in str(caught.value) or "publish" in str(caught.value)


def test_a_ticket_of_a_server_without_a_secret_raises_not_offered(tmp_path: Path, client: MakeClient) -> None:
    (tmp_path / "roomcast.toml").write_text(
        f'[[key]]\nname = "shop"\nsha256 = "{sha256(KEY)}"\nread = ["*"]\npublish = ["*"]\n'
    )
    server = start_roomcast(tmp_path, "--config", str(tmp_path / "roomcast.toml"))
    try:
        with pytest.raises(NotOffered, match="--secret-file"):
            client(server.url, auth=KEY).ticket("orders")
    finally:
        server.end()


@pytest.mark.parametrize("reason", ["expired", "revoked"])
def test_a_stream_whose_credential_ends_continues_at_once_with_a_fresh_one(
    scripted: ScriptedServer, client: MakeClient, kind: str, reason: str
) -> None:
    stream = client(base(scripted), auth=numbered(kind)).follow("a")
    first = aside(next, stream)
    connection = scripted.next()
    assert connection.headers["authorization"] == "Bearer first"
    connection.begin().end(stored(1), end(5, reason))
    assert first.result(PATIENCE).id == "x-1"
    second = aside(next, stream)  # fails if the client waits for the server's delay of a minute
    connection = scripted.next()
    assert connection.headers["authorization"] == "Bearer second"
    assert connection.headers["last-event-id"] == "x-5"
    connection.begin().send(stored(6))
    assert second.result(PATIENCE).id == "x-6"


def test_a_second_rejected_credential_raises_the_servers_error(
    scripted: ScriptedServer, client: MakeClient, kind: str
) -> None:
    stream = client(base(scripted), auth=numbered(kind)).follow("a")
    first = aside(next, stream)
    refuse(scripted.next(), "not valid")
    connection = scripted.next()
    assert connection.headers["authorization"] == "Bearer second"
    connection.begin().end(stored(1), end(1, "expired"))
    assert first.result(PATIENCE).id == "x-1"
    second = aside(next, stream)
    for name, detail in (("third", "expired"), ("fourth", "not valid")):  # an open stream resets the count
        connection = scripted.next()
        assert connection.headers["authorization"] == f"Bearer {name}"
        refuse(connection, detail)
    with pytest.raises(Unauthenticated, match="not valid"):
        second.result(PATIENCE)
    assert scripted.is_quiet(0.3)


def test_a_publish_also_tries_a_fresh_credential_once(
    scripted: ScriptedServer, client: MakeClient, kind: str
) -> None:
    one = client(base(scripted), auth=numbered(kind), patience=0)
    publishing = aside(one.publish, "a", text="t")
    refused = scripted.next()
    refuse(refused)
    connection = scripted.next()
    assert connection.headers["authorization"] == "Bearer second"
    assert connection.headers["idempotency-key"] == refused.headers["idempotency-key"]
    connection.answer("201 Created", "Content-Type: application/json", body=stored(1).split("data: ")[1].encode())
    assert publishing.result(PATIENCE).id == "x-1"
    publishing = aside(one.publish, "a", text="t")
    for _ in range(2):
        refuse(scripted.next())
    with pytest.raises(Unauthenticated, match="expired"):
        publishing.result(PATIENCE)


def test_a_fixed_credential_is_not_tried_twice(scripted: ScriptedServer, client: MakeClient) -> None:
    one = client(base(scripted), auth="always the same")
    for call in (lambda: next(one.follow("a")), lambda: one.publish("a", text="t")):
        calling = aside(call)
        refuse(scripted.next())
        with pytest.raises(Unauthenticated, match="expired"):
            calling.result(PATIENCE)
    assert scripted.is_quiet(0.3)


@pytest.mark.parametrize(
    ("status", "kind_of_problem", "error"),
    [
        ("403 Forbidden", "forbidden", Forbidden),
        ("403 Forbidden", "not-served", errors.NotServed),
        ("400 Bad Request", "bad-credential", errors.BadCredential),
        ("501 Not Implemented", "not-offered", NotOffered),
    ],
)
def test_errors_that_no_credential_can_fix_are_raised_at_once(
    scripted: ScriptedServer, client: MakeClient, status: str, kind_of_problem: str, error: type[RoomcastError]
) -> None:
    one = client(base(scripted), auth=lambda: "token")
    for call in (lambda: next(one.follow("a")), lambda: one.history("a")):
        calling = aside(call)
        scripted.next().answer(status, PROBLEM, body=problem(kind_of_problem, "its words"))
        with pytest.raises(error, match="its words"):
            calling.result(PATIENCE)
    assert scripted.is_quiet(0.3)


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        ({"auth": "token"}, "Bearer token"),
        ({"auth": lambda: "token"}, "Bearer token"),
        ({"headers": {"authorization": "Bearer header"}}, "Bearer header"),
        ({"auth": ("b", "q")}, "Basic Yjpx"),
        ({}, "Basic dTpw"),
    ],
    ids=["token", "function", "header", "login", "none"],
)
def test_a_given_credential_overrides_the_user_and_password_of_the_url(
    scripted: ScriptedServer, client: MakeClient, options: dict[str, Any], sent: str
) -> None:
    one = client(base(scripted).replace("http://", "http://u:p@"), **options)
    for call in (lambda: next(one.follow("a")), lambda: one.history("a")):
        calling = aside(call)
        asked = scripted.next()
        asked.answer("403 Forbidden", PROBLEM, body=problem("forbidden", "its words"))
        with pytest.raises(Forbidden, match="its words"):
            calling.result(PATIENCE)
        assert asked.headers["authorization"] == sent


def test_a_publish_above_the_limit_is_tried_again_after_retry_after(
    scripted: ScriptedServer, client: MakeClient
) -> None:
    publishing = aside(client(base(scripted)).publish, "a", text="t")
    began = time.monotonic()
    scripted.next().answer("429 Too Many Requests", PROBLEM, "Retry-After: 1", body=problem("too-many", "slower"))
    connection = scripted.next()
    assert time.monotonic() - began >= 1
    connection.answer("201 Created", "Content-Type: application/json", body=stored(1).split("data: ")[1].encode())
    assert publishing.result(PATIENCE).id == "x-1"
    publishing = aside(client(base(scripted), patience=0).publish, "a", text="t")
    scripted.next().answer("429 Too Many Requests", PROBLEM, "Retry-After: 7", body=problem("too-many", "slower"))
    with pytest.raises(TooMany, match="slower") as caught:
        publishing.result(PATIENCE)
    assert caught.value.retry_after == 7


def test_two_clients_with_one_ticket_do_not_replace_each_other_for_ever(
    scripted: ScriptedServer, client: MakeClient
) -> None:
    stream = client(base(scripted), auth="the same").follow("a")
    hearing = aside(lambda: [*islice(stream, 9)])
    for _ in range(3):
        scripted.next().begin().end(end(1, "replaced", retry=20))
    with pytest.raises(Unauthenticated, match="another stream uses the same ticket"):
        hearing.result(PATIENCE)


def ended(source: StreamState, reason: str, retry: int = 2_000) -> float:
    """Seconds until the next connection after an end with this reason."""
    source.opened()
    for item in source.feed(end(1, reason, retry).encode()):
        source.take(item)
    return source.ended(None).seconds


def test_a_fresh_credential_that_ends_at_once_is_used_after_the_retry_delay() -> None:
    source = StreamState(is_roomcast=True)
    assert ended(source, "expired") < 0.5
    assert ended(source, "expired") == 2


def test_a_replaced_stream_reconnects_after_the_retry_delay() -> None:
    assert ended(StreamState(is_roomcast=True), "replaced") == 2


def test_other_servers_may_have_an_event_named_roomcast_end() -> None:
    assert ended(StreamState(), "expired") == 2
