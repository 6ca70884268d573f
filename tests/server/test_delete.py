"""Deleted messages are gone with the answer, stay gone, and are told to streams that resume over them."""

from __future__ import annotations

import pytest

from tests.conftest import Serve
from tests.observer import Observer
from tests.running import Running
from tests.server.test_room_rules import held, page, until_live


@pytest.fixture(params=["sqlite:test.db", "memory:"])
def server(serve: Serve, request: pytest.FixtureRequest) -> Running:
    return serve("--log", request.param)


def delete(server: Running, path: str) -> int:
    answer = server._client.delete(server.url + path)
    assert answer.content == b"" or answer.json()["detail"]
    return answer.status_code


def texts(server: Running, query: str = "room=developers") -> list[str]:
    return [message["text"] for message in page(server, query)["messages"]]


def test_a_deleted_message_is_gone_with_the_answer(server: Running) -> None:
    ids = [str(server.publish(text)["id"]) for text in "abc"]
    assert delete(server, f"/messages/{ids[1]}") == 204
    assert delete(server, f"/messages/{ids[1]}") == 410
    assert server.get(f"/messages/{ids[1]}").status_code == 410
    epoch = ids[0].split("-")[0]
    assert [delete(server, f"/messages/{id}") for id in (f"{epoch}-0", f"{epoch}-4", "abcd-1", "x")] == [404] * 4
    assert texts(server) == ["a", "c"]
    assert texts(server, "room=developers&replay=2") == ["a", "c"]
    assert [event.name for event in until_live(server, "room=developers")] == ["message", "message", "live"]


def test_a_resume_over_deleted_messages_is_told(server: Running) -> None:
    ids = [str(server.publish(text)["id"]) for text in "abcd"]
    delete(server, f"/messages/{ids[1]}")
    delete(server, f"/messages/{ids[2]}")
    gap, message, live = until_live(server, f"room=developers&last_event_id={ids[0]}")
    assert gap.json == {
        "after": ids[0],
        "resumes_at": ids[3],
        "rooms": ["developers"],
        "lost_at_most": 2,
        "reason": "deleted",
    }
    assert (gap.id, message.id, live.name) == (ids[2], ids[3], "live")
    found = page(server, f"room=developers&after={ids[0]}")
    assert (found["gap"]["reason"], found["gap"]["lost_at_most"]) == ("deleted", 2)
    assert page(server, f"room=developers&after={ids[2]}")["gap"] is None
    assert page(server, f"room=developers&before={ids[3]}")["gap"] is None


def test_a_deleted_room_is_gone_and_may_be_used_again(server: Running) -> None:
    ids = [str(server.publish(text, room)["id"]) for room, text in ("a1", "b2", "a3")]
    assert delete(server, "/rooms/a") == 204
    assert delete(server, "/rooms/a") == delete(server, "/rooms/never") == 204
    assert held(server) == {"b": 1}
    assert [server.get(f"/messages/{id}").status_code for id in ids] == [410, 200, 410]
    assert texts(server, "room=a&room=b") == ["2"]
    later = server.publish("again", "a")
    gap, message, _ = until_live(server, f"room=a&last_event_id={ids[0]}")
    assert (gap.json["reason"], gap.json["lost_at_most"], gap.json["resumes_at"]) == ("deleted", 1, later["id"])
    assert message.json["text"] == "again"
    assert delete(server, "/rooms/%00") == 422


def test_a_follower_that_has_a_message_keeps_it(server: Running) -> None:
    with Observer(server.port, "/messages?room=developers&replay=none") as observer:
        assert observer.next().name == "live"
        id = server.publish("a")["id"]
        assert observer.next().json["text"] == "a"
        delete(server, f"/messages/{id}")
        server.publish("b")
        assert observer.next().json["text"] == "b"


def test_a_publish_that_is_repeated_after_its_message_was_deleted_is_answered_as_the_first_time(
    server: Running,
) -> None:
    body, headers = {"text": "a", "room": "developers"}, {"Idempotency-Key": "k"}
    first = server.post(body, headers=headers)
    for path in (f"/messages/{first.json()['id']}", "/rooms/developers"):
        delete(server, path)
        again = server.post(body, headers=headers)
        assert (again.status_code, again.json()) == (200, first.json())
    assert held(server) == {}


def test_deleted_messages_do_not_come_back_after_a_kill(serve: Serve) -> None:
    server = serve()
    kept: dict[str, str] = {}
    deleted: list[str] = []
    for round in range(5):
        ids = [
            str(server.publish(f"{round} {n}", room)["id"]) for n in range(10) for room in ("a", "b", f"c{round}")
        ]
        deleted += [id for n, id in enumerate(ids) if n % 4 == 0 or n % 3 == 2]
        kept |= {id: str(round) for n, id in enumerate(ids) if not (n % 4 == 0 or n % 3 == 2)}
        for n, id in enumerate(ids):
            if n % 4 == 0:
                assert delete(server, f"/messages/{id}") == 204
        assert delete(server, f"/rooms/c{round}") == 204
        server.kill()
        server = serve("--port", str(server.port))
        assert {id: server.get(f"/messages/{id}").status_code for id in deleted} == dict.fromkeys(deleted, 410)
        assert {id: server.get(f"/messages/{id}").status_code for id in kept} == dict.fromkeys(kept, 200)


def test_a_replay_of_the_newest_messages_reports_no_earlier_deletion(server: Running) -> None:
    ids = [str(server.publish(text)["id"]) for text in "abcdef"]
    for id in (ids[1], ids[3]):
        delete(server, f"/messages/{id}")
    assert texts(server, "room=developers&replay=6") == ["a", "c", "e", "f"]
    assert page(server, "room=developers&replay=6")["gap"] is None
    assert [event.name for event in until_live(server, "room=developers&replay=6")] == [*["message"] * 4, "live"]


def test_each_gap_of_a_room_begins_where_the_one_before_it_ended(server: Running) -> None:
    ids = [str(server.publish(text)["id"]) for text in "abcdefg"]
    for id in (ids[1], ids[3], ids[5]):
        delete(server, f"/messages/{id}")
    told = [event.json for event in until_live(server, f"room=developers&last_event_id={ids[0]}")]
    gaps = [(gap["after"], gap["resumes_at"]) for gap in told if "lost_at_most" in gap]
    assert gaps == [(ids[0], ids[2]), (ids[1], ids[4]), (ids[3], ids[6])]
