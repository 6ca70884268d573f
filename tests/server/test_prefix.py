"""Rooms that are followed by what their names begin with."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.conftest import Serve
from tests.observer import Observer
from tests.running import Running
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


def test_those_who_follow_by_prefix_are_not_counted_as_a_rooms_followers(server: Running) -> None:
    server.publish("0", "a/1")
    with (
        Observer(server.port, "/messages?prefix=a/&replay=none") as by_prefix,
        Observer(server.port, "/messages?room=a/1&replay=none") as by_name,
    ):
        assert by_prefix.next().name == by_name.next().name == "live"
        assert [row["followers"] for row in server.get("/rooms").json()["rooms"]] == [1]
        assert server.metric("roomcast_followers") == 2


@pytest.mark.parametrize("query", ["prefix=$", "prefix=a%00", "prefx=a"])
def test_a_bad_prefix_is_refused_before_the_stream(server: Running, query: str) -> None:
    assert server.get(f"/messages?{query}").status_code == 422
