"""Following by prefix on MongoDB, and what its capped collection cannot do."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from pymongo import MongoClient

from tests.mongodb.conftest import Serve
from tests.mongodb.database import MongoDB
from tests.observer import Observer
from tests.running import Running, wait_for

PAGE = {"Accept": "application/json"}
LINES = {"Accept": "application/x-ndjson"}


@pytest.fixture
def server(serve_on: Serve, url: str) -> Running:
    return serve_on(url, "--max-messages=4")


def test_streams_lines_and_pages_by_prefix_have_each_message_once(server: Running) -> None:
    first = server.publish("0", "team/7/a")["id"]
    server.publish("1", "team/8/a")
    with (
        Observer(server.port, "/messages?prefix=team/7/&prefix=team/7/b&room=kitchen") as observer,
        Observer(server.port, f"/messages?prefix=team/7/&last_event_id={first}", headers=LINES) as lines,
    ):
        assert [event.name for event in observer.until_live()] == ["message", "live"]
        for text, room in [("2", "team/7/b"), ("3", "kitchen")]:  # one of a room that was not there before
            server.publish(text, room)
        assert observer.texts(2) == ["2", "3"]
        assert [lines.next_row()["event"] for _ in range(2)] == ["retry", "live"]
        assert lines.next_row()["data"]["text"] == "2"
    page = server.get("/messages?prefix=team/&limit=2", headers=PAGE)
    assert [message["text"] for message in page.json()["messages"]] == ["0", "1"]
    rest = server.get(page.links["next"]["url"], headers=PAGE).json()
    assert [message["text"] for message in rest["messages"]] == ["2"]
    newest = server.get("/messages?prefix=team/7/&replay=1&limit=1", headers=PAGE)
    assert newest.status_code == 200


def test_a_resume_by_prefix_is_told_which_rooms_lost_messages(server: Running, url: str) -> None:
    ids = [server.publish(str(n), f"a/{n % 2}")["id"] for n in range(6)]
    server.publish("other", "b")

    def trimmed() -> bool:
        with MongoClient[dict[str, object]](url) as client:
            client.get_default_database().command("compact", "messages")
        return bool(server.get(f"/messages?prefix=a/&after={ids[0]}", headers=PAGE).json()["gap"])

    wait_for(trimmed, "the collection to be trimmed")
    with Observer(server.port, "/messages?prefix=a/", headers={"Last-Event-ID": str(ids[0])}) as observer:
        gap, *events = observer.until_live()
    told = gap.json
    assert (gap.name, told["prefixes"], told["reason"], told["after"]) == ("gap", ["a/"], "trimmed", ids[0])
    assert [event.id for event in events[:-1]] == ids[-len(events) + 1 :]
    assert told["lost_at_most"] == len(ids) - len(events)
    assert told["rooms"] == ["a/0", "a/1"][2 - min(2, told["lost_at_most"]) :]


def test_nothing_is_deleted(server: Running) -> None:
    id = server.publish("1", "a")["id"]
    for path in (f"/messages/{id}", "/rooms/a"):
        answer = httpx.delete(server.url + path)
        assert (answer.status_code, "MongoDB" in answer.json()["detail"]) == (501, True)


@pytest.mark.parametrize("option", ["--max-age=1h", "--config=rules.toml"])
def test_rules_and_ages_are_refused_at_the_start(
    serve_on: Serve, mongo: MongoDB, tmp_path: Path, option: str
) -> None:
    (tmp_path / "rules.toml").write_text('[[room]]\nmatch = "a"\nmax_messages = 1\n')
    with pytest.raises(AssertionError, match=r"the server ended: .*trimmed by its collection"):
        serve_on(mongo.url(), option.replace("rules.toml", str(tmp_path / "rules.toml")))
