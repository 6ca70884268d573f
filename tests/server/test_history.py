"""The retained messages, as JSON: pages and the links between them, single messages, rooms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.observer import Observer
from tests.running import Running, start_roomcast, wait_for

PAGE = {"Accept": "application/json"}
INTERLEAVED = [{"room": ("even", "odd")[n % 2], "text": str(n)} for n in range(1050)]
_numbers = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """With 1,050 messages of two rooms, and others between them."""
    running = start_roomcast(tmp_path_factory.mktemp("server"))
    for start in range(0, len(INTERLEAVED), 50):
        assert running.post(INTERLEAVED[start : start + 50]).status_code == 201
        running.publish("noise", "other")
    yield running
    running.end()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that retains 10 messages."""
    running = start_roomcast(tmp_path_factory.mktemp("small"), "--max-messages=10")
    yield running
    running.end()


def ask(server: Running, target: str, **headers: str) -> httpx.Response:
    answer = server.get(target, headers={**PAGE, **headers})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["vary"] == "Accept, Origin"
    assert list(answer.json()) == ["messages", "position", "gap"]
    return answer


def texts(answer: httpx.Response) -> list[str]:
    return [message["text"] for message in answer.json()["messages"]]


def walk(server: Running, target: str, relation: str) -> Iterator[httpx.Response]:
    """A page, and all that its links lead to."""
    answer = ask(server, target)
    yield answer
    while link := answer.links.get(relation):
        answer = ask(server, str(link["url"]))
        yield answer


def newest(server: Running) -> str:
    return str(server.get("/readyz").json()["position"])


@pytest.mark.parametrize("limit", [1000, 100, 37, 525])
def test_next_leads_through_all_of_two_rooms_and_none_is_missed_or_doubled(server: Running, limit: int) -> None:
    pages = list(walk(server, f"/messages?room=even&room=odd&limit={limit}", "next"))
    assert [text for page in pages for text in texts(page)] == [message["text"] for message in INTERLEAVED]
    assert all(len(texts(page)) == limit for page in pages[:-1])
    assert all(page.json()["gap"] is None for page in pages)
    assert pages[-1].json()["position"] == newest(server)


@pytest.mark.parametrize("limit", [1000, 100, 37, 525])
def test_prev_leads_back_through_all_of_two_rooms(server: Running, limit: int) -> None:
    pages = list(walk(server, f"/messages?room=odd&room=even&replay={limit}&limit={limit}", "prev"))
    read = [text for page in reversed(pages) for text in texts(page)]
    assert read == [message["text"] for message in INTERLEAVED]
    assert all(page.json()["gap"] is None for page in pages)


def test_from_a_page_in_the_middle_prev_and_next_lead_to_its_neighbours(server: Running) -> None:
    last = ask(server, "/messages?room=even&replay=30&limit=30")
    before = ask(server, str(last.links["prev"]["url"]))
    assert texts(before) == [str(n) for n in range(930, 990, 2)]
    assert texts(ask(server, str(before.links["next"]["url"]))) == texts(last)


def test_the_first_100_are_a_page_unless_told_otherwise(server: Running) -> None:
    assert texts(ask(server, "/messages?room=even")) == [str(n) for n in range(0, 200, 2)]
    assert texts(ask(server, "/messages?room=even&limit=1")) == ["0"]


def test_after_and_before_are_exclusive(server: Running) -> None:
    ids = [message["id"] for message in ask(server, "/messages?room=odd&limit=20").json()["messages"]]
    assert texts(ask(server, f"/messages?room=odd&after={ids[3]}&before={ids[6]}")) == ["9", "11"]
    assert texts(ask(server, f"/messages?room=odd&after={ids[3]}&limit=2")) == ["9", "11"]
    assert texts(ask(server, f"/messages?room=odd&before={ids[3]}")) == ["1", "3", "5"]
    assert texts(ask(server, f"/messages?room=odd&before={ids[3]}&limit=2")) == ["3", "5"]
    assert texts(ask(server, f"/messages?room=odd&after={ids[3]}&before={ids[3]}")) == []
    assert texts(ask(server, f"/messages?room=odd&after={ids[6]}&before={ids[3]}")) == []
    assert texts(ask(server, f"/messages?room=odd&before={ids[0]}")) == []
    between = "/messages?room=odd&limit=2"
    pages = list(walk(server, f"{between}&after={ids[2]}&before={ids[9]}", "next"))
    assert [text for page in pages for text in texts(page)] == ["7", "9", "11", "13", "15", "17"]


def test_after_is_last_event_id_by_another_name_and_the_header_wins(server: Running) -> None:
    ids = [message["id"] for message in ask(server, "/messages?room=odd&limit=20").json()["messages"]]
    assert texts(ask(server, f"/messages?room=odd&last_event_id={ids[3]}&limit=1")) == ["9"]
    by_header = ask(server, f"/messages?room=odd&after={ids[3]}&limit=1", **{"Last-Event-ID": ids[6]})
    assert texts(by_header) == ["15"]


@pytest.mark.parametrize("before", ["x", "", "abcd-1", "17"])
def test_a_before_that_is_no_id_of_this_log_is_refused(server: Running, before: str) -> None:
    answer = server.get(f"/messages?room=odd&before={before}", headers=PAGE)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/before")


def test_a_start_may_be_a_time_or_the_newest(server: Running) -> None:
    assert texts(ask(server, "/messages?room=odd&replay=3")) == ["1045", "1047", "1049"]
    assert texts(ask(server, "/messages?room=odd&room=even&replay=3")) == ["1047", "1048", "1049"]
    assert texts(ask(server, "/messages?room=odd&replay=3&limit=2")) == ["1045", "1047"]
    assert texts(ask(server, "/messages?room=odd&replay=none")) == []
    assert texts(ask(server, "/messages?room=odd&replay=all&limit=2")) == ["1", "3"]
    assert texts(ask(server, "/messages?room=odd&since=1h&limit=2")) == ["1", "3"]
    assert texts(ask(server, "/messages?room=odd&since=2099-01-01T00:00:00Z")) == []
    stored = ask(server, "/messages?room=odd&after=" + newest(server).split("-")[0] + "-500&limit=1").json()[
        "messages"
    ][0]
    found = ask(server, f"/messages?room=odd&limit=1000&since={stored['timestamp']}").json()["messages"]
    assert stored in found
    assert all(message["timestamp"] >= stored["timestamp"] for message in found)
    earlier = ask(server, f"/messages?room=odd&limit=1000&before={found[0]['id']}").json()["messages"]
    assert all(message["timestamp"] < stored["timestamp"] for message in earlier)


@pytest.mark.parametrize(
    "target",
    [
        "limit=7",
        "replay=none",
        "replay=2",
        "since=2099-01-01T00:00:00Z",
        "limit=1000",
        "since=0s",
        "after={newest}",
    ],
)
@pytest.mark.parametrize("room", ["even", "never-used"])
def test_a_stream_goes_on_at_the_position_of_a_page_without_a_seam(
    server: Running, target: str, room: str
) -> None:
    room = room if room == "even" else f"never-{next(_numbers)}"
    page = ask(server, f"/messages?room={room}&{target.format(newest=newest(server))}").json()
    last = f"to come {next(_numbers)}"
    server.publish("elsewhere", "other")
    stored = server.publish(last, room)
    known = ask(server, f"/messages?room={room}&replay=1000&limit=1000").json()["messages"]
    with Observer(server.port, f"/messages?room={room}&after={page['position']}") as follower:
        *heard, _ = follower.until_live()
    messages = [event.json for event in heard]
    assert [event.name for event in heard] == ["message"] * len(heard)
    assert messages[-1] == stored
    if target.startswith("limit"):
        assert [*page["messages"], *messages] == known
    else:
        assert messages == [stored]


def test_a_page_of_the_past_has_the_position_at_which_it_ends(server: Running) -> None:
    page = ask(server, "/messages?room=even&replay=1").json()
    before = ask(server, f"/messages?room=even&limit=2&before={page['messages'][0]['id']}").json()
    after = ask(server, f"/messages?room=even&after={before['position']}&limit=1").json()
    assert after["messages"] == page["messages"]


def test_links_keep_the_rooms_whatever_their_names(server: Running) -> None:
    room = 'a&b=c,d;"e">+/%?# 𝔵'
    for text in "abc":
        server.publish(text, room)
    pages = list(walk(server, f"/messages?room={quote(room, safe='')}&room=none&limit=1", "next"))
    assert [text for page in pages for text in texts(page)] == ["a", "b", "c"]


def test_a_gap_is_told_in_a_page_as_it_is_in_a_stream(small: Running) -> None:
    room = f"room-{next(_numbers)}"
    ids = [str(small.publish(str(n), room)["id"]) for n in range(20)]
    page = ask(small, f"/messages?room={room}&after={ids[4]}&limit=3").json()
    assert page["gap"] == {
        "after": ids[4],
        "resumes_at": ids[10],
        "rooms": [room],
        "lost_at_most": 5,
        "reason": "trimmed",
    }
    assert [message["id"] for message in page["messages"]] == ids[10:13]
    assert page["position"] == ids[12]
    with Observer(small.port, f"/messages?room={room}&after={ids[4]}") as follower:
        assert follower.next().json == page["gap"]
    for exact in (f"after={ids[9]}", f"after={ids[15]}", "replay=all", "replay=30", f"before={ids[12]}"):
        assert ask(small, f"/messages?room={room}&{exact}").json()["gap"] is None
    assert ask(small, f"/messages?room={room}&since=1h").json()["gap"]["lost_at_most"] == 10
    assert ask(small, f"/messages?room={room}&since=2099-01-01T00:00:00Z").json()["gap"] is None


def test_an_unknown_id_is_a_gap_over_everything_retained(small: Running) -> None:
    room = f"room-{next(_numbers)}"
    stored = small.publish("x", room)
    epoch = newest(small).split("-")[0]
    for id, reason in (("abcd-1", "epoch"), (f"{epoch}-999999", "future"), ("ü", "malformed")):
        page = ask(small, f"/messages?room={room}&after={quote(id)}").json()
        assert page["messages"] == [stored]
        assert page["gap"] == {
            "after": id,
            "resumes_at": stored["id"],
            "rooms": [room],
            "lost_at_most": None,
            "reason": reason,
        }
    empty = ask(small, "/messages?room=never&after=abcd-1").json()
    assert (empty["messages"], empty["gap"]["resumes_at"], empty["position"]) == ([], None, newest(small))


def test_prev_ends_where_the_log_is_trimmed(small: Running) -> None:
    room = f"room-{next(_numbers)}"
    for number in range(15):
        small.publish(str(number), room)
    pages = list(walk(small, f"/messages?room={room}&replay=4&limit=4", "prev"))
    assert [text for page in reversed(pages) for text in texts(page)] == [str(n) for n in range(5, 15)]


def test_a_page_is_whole_however_large_its_messages_are(server: Running) -> None:
    room = f"room-{next(_numbers)}"
    for start in range(0, 60, 10):
        server.post([{"room": room, "text": f"{n} {'x' * 30_000}"} for n in range(start, start + 10)])
    page = ask(server, f"/messages?room={room}&limit=60")
    assert [text.split()[0] for text in texts(page)] == [str(n) for n in range(60)]


def test_rooms_are_listed_with_their_messages_and_their_followers(server: Running) -> None:
    room = f"room-{next(_numbers)}"
    empty = f"empty-{next(_numbers)}"
    server.publish("a", room)
    stored = server.publish("b", room)

    def row(name: str) -> dict[str, Any] | None:
        rows = server.get("/rooms").json()["rooms"]
        return next((row for row in rows if row["room"] == name), None)

    expected = {
        "room": room,
        "messages": 2,
        "newest": stored["id"],
        "newest_at": stored["timestamp"],
        "followers": 0,
    }
    assert row(room) == expected
    assert row(empty) is None
    with Observer(server.port, f"/messages?room={room}&room={empty}") as one:
        one.until_live()
        with Observer(server.port, f"/messages?room={room}") as two:
            two.until_live()
            assert row(room) == {**expected, "followers": 2}
            assert row(empty) == {"room": empty, "messages": 0, "newest": None, "newest_at": None, "followers": 1}
    wait_for(lambda: row(room) == expected and row(empty) is None, "the followers' end")


def test_etags_of_the_page_save_sending_it_again(server: Running) -> None:
    page = server.get("/?room=developers")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assets = re.findall(r"page/[\w.-]+", page.text)
    assert assets
    for path in ("/", *(f"/{asset}" for asset in assets)):
        first = server.get(path)
        assert first.status_code == 200
        etag = first.headers["etag"]
        for condition in (etag, f"W/{etag}", f'"other", {etag}'):
            again = server.get(path, headers={"If-None-Match": condition})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert server.get(path, headers={"If-None-Match": '"other"'}).status_code == 200
    for name in ("nothing.js", "..%2fversion.py", "__init__.py", "%00"):
        assert server.get(f"/page/{name}").status_code == 404
