"""`roomcast.app`: `rights=` is the login of the host program, and `routes=` chooses the served routes."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import httpx
import pytest

import roomcast
from roomcast import Rights
from roomcast.auth.keys import new_key, sha256
from roomcast.http.all_routes import GROUPS, ROUTES, Group
from roomcast.model.errors import BadOption

STREAM = {"accept": "text/event-stream"}
PAGE = {"accept": "application/json"}
ANNA = {"cookie": "session=anna", "sec-fetch-site": "same-origin"}
KEY = new_key("shop")

Scope = MutableMapping[str, Any]


class Login:
    """A program's login: the cookie `session` names somebody. Counts how often it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.until: datetime | float | None = None
        self.failure: Exception | None = None

    async def __call__(self, scope: Scope) -> Rights | None:
        self.asked.append(scope["path"])
        if self.failure:
            raise self.failure
        cookies = [value.decode() for name, value in scope["headers"] if name == b"cookie"]
        if cookies != ["session=anna"]:
            return None
        return Rights("anna", read=["user/anna", "news"], publish=["chat/*"], until=self.until)


@asynccontextmanager
async def serving(**options: Any) -> AsyncIterator[httpx.AsyncClient]:
    live = roomcast.app(log="memory:", **options)
    async with live:
        transport = httpx.ASGITransport(live)
        async with httpx.AsyncClient(transport=transport, base_url="http://app.example") as client:
            yield client


async def publish(client: httpx.AsyncClient, **fields: object) -> httpx.Response:
    return await client.post("/messages", json={"text": "x", **fields}, headers=ANNA)


async def test_the_hosts_login_says_which_rooms_are_read() -> None:
    async with serving(rights=Login()) as client:
        assert (
            await client.get("/messages?room=news&room=user/anna", headers={**ANNA, **PAGE})
        ).status_code == 200
        refused = await client.get("/messages?room=news&room=user/bert", headers={**ANNA, **STREAM})
        assert refused.status_code == 403
        assert [fault["detail"] for fault in refused.json()["errors"]] == [
            "user/bert may not be read with this credential"
        ]


async def test_a_message_carries_the_user_that_the_host_names() -> None:
    async with serving(rights=Login()) as client:
        assert (await publish(client, room="chat/7")).json()["user"] == "anna"
        assert (await publish(client, room="chat/7", user="anna")).status_code == 201
        assert (await publish(client, room="chat/7", user="bert")).status_code == 403
        assert (await publish(client, room="news")).status_code == 403


async def test_a_stranger_has_the_anonymous_grants_and_is_asked_for_a_credential_otherwise() -> None:
    async with serving(rights=Login()) as client:
        refused = await client.get("/messages?room=news", headers=STREAM)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer realm="roomcast"')
    async with serving(rights=Login(), anonymous=("read:news",)) as client:
        assert (await client.get("/messages?room=news", headers=PAGE)).status_code == 200
        assert (await client.get("/messages?room=news&room=user/anna", headers=PAGE)).status_code == 401
        assert (await client.get("/me")).json()["kind"] == "anonymous"


async def test_a_client_can_ask_for_its_own_rights() -> None:
    login = Login()
    login.until = datetime.now(UTC) + timedelta(minutes=10)
    async with serving(rights=login) as client:
        told = (await client.get("/me", headers=ANNA)).json()
        assert 590 <= told.pop("expires_in") <= 600
        assert told == {
            "kind": "host",
            "name": "anna",
            "user": "anna",
            "read": ["news", "user/anna"],
            "publish": ["chat/*"],
            "metrics": False,
            "admin": False,
        }


async def test_a_login_that_fails_asks_to_come_back_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    login = Login()
    login.failure = ConnectionError("the database of users is away")
    async with serving(rights=login) as client:
        refused = await publish(client, room="chat/7")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert refused.json()["type"] == "urn:problem-type:roomcast:rights-unavailable"
        assert "database" not in refused.text
        stream = await client.get("/messages?room=news", headers={**ANNA, **STREAM})
        assert stream.status_code == 200
        assert stream.text.startswith("retry: ")
        lines = await client.get("/messages?room=news", headers={**ANNA, "accept": "application/x-ndjson"})
        assert json.loads(lines.text)["event"] == "retry"
        assert (await client.get("/messages?room=news", headers={**ANNA, **PAGE})).status_code == 503
        assert (await client.head("/messages?room=news", headers={**ANNA, **STREAM})).status_code == 503
    [record, *_] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "the database of users is away" in str(record.exc_info)


@pytest.mark.parametrize("returned", [True, {"read": ["*"]}, "anna"])
async def test_a_login_that_returns_something_else_lets_nobody_in(
    returned: object, caplog: pytest.LogCaptureFixture
) -> None:
    async def who(scope: Scope) -> Any:
        return returned

    async with serving(rights=who) as client:
        assert (await client.get("/messages?room=news", headers=PAGE)).status_code == 503
    assert "rights= must be an `async def` that returns roomcast.Rights" in str(caplog.records[0].exc_info)


@pytest.mark.parametrize(
    "path", ["/", "/page/main.js", "/roomcast.js", "/openapi.json", "/healthz", "/readyz", "/metrics", "/nowhere"]
)
async def test_the_login_is_not_asked_for_routes_that_need_none(path: str) -> None:
    login = Login()
    async with serving(rights=login) as client:
        await client.get(path, headers=ANNA)
        await client.options("/messages", headers={"origin": "http://app.example"})
    assert login.asked == []


async def test_rights_that_expire_end_the_stream_and_its_reconnect_is_judged_again() -> None:
    login = Login()
    login.until = time.time() + 0.2
    async with serving(rights=login, heartbeat=0.05) as client:
        stream = await client.get("/messages?room=news", headers={**ANNA, **STREAM})
        assert 'event: live\ndata: {"replayed":0,"expires_in":0}' in stream.text
        assert 'event: roomcast.end\ndata: {"reason":"expired"}' in stream.text
        over = await client.get("/messages?room=news", headers={**ANNA, **STREAM})
        assert (over.status_code, over.json()["detail"]) == (401, "expired")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site", "origin": "http://blog.app.example"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "https://friend.example"}, 200),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200),
        ({}, 200),
    ],
)
async def test_another_sites_page_is_not_let_in_by_the_hosts_cookie(fields: dict[str, str], status: int) -> None:
    async with serving(rights=Login(), allow_origin=("https://friend.example",)) as client:
        headers = {"cookie": "session=anna", **fields}
        answer = await client.get("/messages?room=news", headers={**headers, **PAGE})
        assert answer.status_code == status
        posted = await client.post("/messages", json={"room": "chat/7", "text": "x"}, headers=headers)
        assert posted.status_code == (201 if "origin" in fields and status == 200 else 403)


async def test_a_bearer_of_the_hosts_own_needs_no_origin() -> None:
    async def who(scope: Scope) -> Rights | None:
        return (
            Rights("app", publish=["*"]) if (b"authorization", b"Bearer of-the-host") in scope["headers"] else None
        )

    async with serving(rights=who) as client:
        posted = await client.post(
            "/messages", json={"room": "a", "text": "x"}, headers={"authorization": "Bearer of-the-host"}
        )
        assert (posted.status_code, posted.json()["user"]) == (201, "app")
        wrong = await client.get("/messages?room=a", headers={"authorization": "Bearer other"})
        assert wrong.status_code == 401


async def test_a_key_and_its_tickets_decide_where_they_are_sent() -> None:
    login = Login()
    key = roomcast.Key(name="shop", sha256=sha256(KEY), read=("*",), metrics=True)
    async with serving(rights=login, keys=(key,), secret="Zk8hQ2vN5xR1mB7cT4wY9pL3sD6fG0jA") as client:
        bearer = {"authorization": f"Bearer {KEY}", **ANNA}
        assert (await client.get("/me", headers=bearer)).json()["name"] == "shop"
        assert (await client.get("/metrics", headers=bearer)).status_code == 200
        ticket = await client.post("/tickets", json={"rooms": ["orders"]}, headers=bearer)
        assert ticket.status_code == 201
        assert (await client.get(ticket.json()["url"] + "x", headers={**ANNA, **STREAM})).status_code == 401
        assert (await client.head(ticket.json()["url"], headers={**ANNA, **STREAM})).status_code == 200
        assert login.asked == []
        refused = await client.post("/tickets", json={"rooms": ["news"]}, headers=ANNA)
        assert refused.status_code == 403


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"user": ""}, "user must be 1 to 128 characters"),
        ({"user": None}, "user must be a string"),
        ({"user": "a", "read": "news"}, r"read must be a list of grants, not one string: write \['news'\]"),
        ({"user": "a", "publish": ["a\n"]}, "publish must be a room"),
        ({"user": "a", "until": datetime(2030, 1, 1)}, "until needs a time zone"),
        ({"user": "a", "until": float("nan")}, "until must be a finite number"),
    ],
)
def test_invalid_rights_are_refused_when_they_are_made(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Rights(**fields)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rights": Login(), "open": True}, "open=True lets everybody in"),
        ({"rights": "anna"}, "rights must be an `async def`"),
        ({"routes": ("folow",)}, "'folow' is no group of routes: did you mean follow"),
        ({"routes": ("xyz",)}, "there are follow, history, publish"),
        ({"routes": "follow"}, "routes must be a list"),
        ({"routes": ()}, "routes must be a list"),
    ],
)
def test_invalid_options_are_refused_at_the_call(options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadOption, match=words):
        roomcast.app(**options)


def test_every_route_is_in_one_group() -> None:
    routes = [(method, path) for path, handlers in ROUTES.items() for method in handlers]
    assert sorted(pair for pairs in GROUPS.values() for pair in pairs) == sorted(routes)
    assert list(GROUPS) == list(get_args(Group))


async def test_only_the_route_that_follows_is_served_if_the_program_says_so() -> None:
    async with serving(routes=("follow", "openapi")) as client:
        assert (await client.get("/messages?room=a", headers=PAGE)).status_code == 200
        refused = await client.post("/messages", json={"room": "a", "text": "x"})
        assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
        for path in ("/", "/rooms", "/metrics", "/messages/k3v9qa-1", "/roomcast.js", "/page/main.js", "/healthz"):
            assert (await client.get(path)).status_code == 404, path
        assert (await client.post("/rooms/a", content="x")).status_code == 404
        preflight = await client.options("/messages", headers={"origin": "http://app.example"})
        assert preflight.headers["allow"] == "GET, HEAD, OPTIONS"
        paths = (await client.get("/openapi.json")).json()["paths"]
        assert {path: list(item) for path, item in paths.items()} == {
            "/messages": ["get", "head"],
            "/openapi.json": ["get", "head"],
        }


async def test_without_rights_everybody_is_served_under_any_host() -> None:
    async with serving() as client:
        headers = {"host": "shop.example", "x-forwarded-for": "203.0.113.9", "origin": "https://any.example"}
        posted = await client.post("/messages", json={"room": "a", "text": "x"}, headers=headers)
        assert posted.status_code == 201
