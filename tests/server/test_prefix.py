"""Rooms that are followed by what their names begin with."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from roomcast.auth.keys import sha256
from tests.conftest import Serve
from tests.observer import Observer
from tests.running import Running, wait_for
from tests.server.test_room_rules import page, until_live


@pytest.fixture(params=["sqlite:test.db", "memory:"])
def server(serve: Serve, request: pytest.FixtureRequest) -> Running:
    return serve("--log", request.param)


def test_a_follower_hears_rooms_that_are_there_and_rooms_that_come(server: Running) -> None:
    server.publish("0", "team/7/a")
    server.publish("1", "team/8/a")
    with Observer(server.port, "/messages?prefix=team/7/&room=kitchen") as observer:
        assert observer.next().json["text"] == "0"
        assert observer.next().name == "live"
        for text, room in [("2", "team/7/b"), ("3", "team/8/a"), ("4", "kitchen"), ("5", "team/7/a")]:
            server.publish(text, room)
        assert [observer.next().json["text"] for _ in range(3)] == ["2", "4", "5"]


def test_a_resume_by_prefix_brings_each_message_once(server: Running) -> None:
    ids = [str(server.publish(str(n), f"a/{n % 3}")["id"]) for n in range(6)]
    found = until_live(server, f"prefix=a/&prefix=&room=a/1&last_event_id={ids[1]}")
    assert [event.json["text"] for event in found[:-1]] == ["2", "3", "4", "5"]


def test_pages_by_prefix_lead_to_each_other(server: Running) -> None:
    for n in range(5):
        server.publish(str(n), f"a/{n}")
        server.publish("other", "b")
    answer = server.get("/messages?prefix=a/&limit=2", headers={"Accept": "application/json"})
    texts = [message["text"] for message in answer.json()["messages"]]
    while 'rel="next"' in answer.headers.get("link", ""):
        target = re.search(r'<([^>]*)>; rel="next"', answer.headers["link"])[1]  # type: ignore[index]
        assert parse_qs(urlsplit(target).query)["prefix"] == ["a/"]
        answer = server.get(target, headers={"Accept": "application/json"})
        texts += [message["text"] for message in answer.json()["messages"]]
    assert texts == list("01234")


def test_a_gap_by_prefix_has_the_prefixes(serve: Serve) -> None:
    server = serve("--log", "memory:", "--max-messages", "2")
    ids = [str(server.publish(str(n), f"a/{n}")["id"]) for n in range(5)]
    gap = page(server, f"prefix=a/&prefix=b/&after={ids[0]}")["gap"]
    assert (gap["rooms"], gap["prefixes"], gap["lost_at_most"]) == (["a/1", "a/2"], ["a/"], 2)
    strange = page(server, "prefix=a/&after=abcd-7")["gap"]
    assert (strange["rooms"], strange["prefixes"], strange["lost_at_most"]) == ([], ["a/"], None)
    assert "prefixes" not in page(server, f"room=a/1&after={ids[0]}")["gap"]


def test_a_rooms_followers_are_those_by_name_and_those_by_prefix_each_once(server: Running) -> None:
    for room in ("a", "a/1", "b"):
        server.publish("0", room)
    queries = ("prefix=a/", "room=a/1", "prefix=a/&room=a/1&room=b", "prefix=a")
    with contextlib.ExitStack() as stack:
        for query in queries:
            stream = stack.enter_context(Observer(server.port, f"/messages?{query}&replay=none"))
            assert stream.next().name == "live"
        assert _followers(server) == {"a": 1, "a/1": 4, "b": 1}
    wait_for(lambda: _followers(server) == {"a": 0, "a/1": 0, "b": 0}, "the ends")


def _followers(server: Running) -> dict[str, int]:
    return {row["room"]: row["followers"] for row in server.get("/rooms").json()["rooms"]}


@pytest.mark.parametrize("query", ["prefix=$", "prefix=a%00", "prefx=a"])
def test_a_bad_prefix_is_refused_before_the_stream(server: Running, query: str) -> None:
    assert server.get(f"/messages?{query}").status_code == 422


def with_rights(serve: Serve, tmp_path: Path) -> Running:
    (tmp_path / "secret").write_text("0123456789abcdefghijklmnopqrstuvwxyz\n")
    (tmp_path / "roomcast.toml").write_text(
        'secret_files = ["secret"]\n'
        f'[[key]]\nname = "all"\nsha256 = "{sha256(ALL)}"\nread = ["*"]\npublish = ["*"]\n'
        f'[[key]]\nname = "team"\nsha256 = "{sha256(TEAM)}"\nread = ["team/*", "user/4", "user/5"]\n'
    )
    return serve("--config", "roomcast.toml", "--log", "memory:")


ALL, TEAM = (f"rck_{name}_{letter * 43}" for name, letter in [("all", "a"), ("team", "b")])


def asked(server: Running, query: str, key: str = "", **more: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return server.get(f"/messages?{query}", headers={"Accept": "application/json", **headers, **more})


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("prefix=team/", 200), ("prefix=team/7/&prefix=team/8", 200), ("prefix=team", 403), ("prefix=", 403),
        ("prefix=user/", 403), ("prefix=user/4", 403), ("room=user/4&prefix=team/", 200),
        ("prefix=team/&room=x", 403),
    ],
)  # fmt: skip
def test_a_prefix_is_followed_where_one_grant_covers_all_of_it(
    serve: Serve, tmp_path: Path, query: str, status: int
) -> None:
    server = with_rights(serve, tmp_path)
    answer = asked(server, query, TEAM)
    assert answer.status_code == status, answer.text
    assert asked(server, query).status_code == 401
    assert asked(server, query, ALL).status_code == 200


def test_a_ticket_with_prefixes_opens_their_stream_and_no_other(serve: Serve, tmp_path: Path) -> None:
    server = with_rights(serve, tmp_path)
    body = {"rooms": ["user/4"], "prefixes": ["team/7/"]}
    issued = server._client.post(f"{server.url}/tickets", json=body, headers={"Authorization": f"Bearer {TEAM}"})
    assert issued.status_code == 201, issued.text
    url, ticket = issued.json()["url"], issued.json()["ticket"]
    assert "prefix=team%2F7%2F" in url
    with Observer(server.port, url) as observer:
        assert observer.next().name == "live"
        for room in ("team/8/a", "team/7/a", "user/4"):
            posted = {"room": room, "text": room}
            server._client.post(f"{server.url}/messages", json=posted, headers={"Authorization": f"Bearer {ALL}"})
        assert [observer.next().json["room"] for _ in range(2)] == ["team/7/a", "user/4"]
    assert asked(server, "prefix=team/7/x", ticket).status_code == 200
    assert asked(server, "prefix=team/", ticket).status_code == 403
    body["prefixes"] = ["team"]
    refused = server._client.post(f"{server.url}/tickets", json=body, headers={"Authorization": f"Bearer {TEAM}"})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (403, "/prefixes/0")
