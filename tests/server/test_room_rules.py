"""Rooms with rules of their own: what they keep, what their followers are told, and how rules change."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.observer import Event, Observer
from tests.running import PATIENCE, Running, start_roomcast, wait_for

Configured = Callable[..., Running]
THREE = "".join(
    f'[[room]]\nmatch = "{match}"\nmax_messages = {most}\n' for match, most in {"a": 9, "b": 4, "*": 2}.items()
)
"""Rules for three rooms, a, b and c."""
ABC = "room=a&room=b&room=c"


@pytest.fixture(params=["sqlite:test.db", "memory:"])
def log(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def configured(serve: Serve, tmp_path: Path, log: str) -> Configured:
    """Starts a server with a configuration."""

    def start(text: str, *options: str) -> Running:
        (tmp_path / "roomcast.toml").write_text(text)
        return serve("--config", "roomcast.toml", "--log", log, *options)

    return start


def batch(server: Running, *rooms: str) -> list[str]:
    """A message to each of these rooms, in batches; their ids."""
    ids: list[str] = []
    for start in range(0, len(rooms), 100):
        answer = server.post([{"room": room, "text": room} for room in rooms[start : start + 100]])
        assert answer.status_code == 201, answer.text
        ids += [message["id"] for message in answer.json()]
    return ids


def held(server: Running) -> dict[str, int]:
    """How many messages each room has."""
    return {row["room"]: row["messages"] for row in server.get("/rooms").json()["rooms"]}


def page(server: Running, query: str) -> Any:
    return server.get(f"/messages?{query}", headers={"Accept": "application/json"}).json()


def until_live(server: Running, query: str) -> list[Event]:
    with Observer(server.port, f"/messages?{query}") as observer:
        events = [observer.next()]
        while events[-1].name != "live":
            events.append(observer.next())
    return events


def test_a_whole_replay_and_its_pages_have_the_same_messages_as_its_parts(configured: Configured) -> None:
    server = configured(THREE)
    for _ in range(30):
        batch(server, *"abc")
    wait_for(lambda: held(server) == {"a": 9, "b": 4, "c": 2}, "the rules")
    epoch = page(server, "room=a")["position"].split("-")[0]
    events = until_live(server, f"{ABC}&last_event_id={epoch}-0")
    gaps = [event for event in events if event.name == "gap"]
    assert [(gap.json["rooms"], gap.json["lost_at_most"]) for gap in gaps] == [
        (["a"], 21),
        (["b"], 26),
        (["c"], 28),
    ]
    assert {gap.json["after"] for gap in gaps} == {f"{epoch}-0"}
    for before, gap, after in zip(events, events[1:], events[2:], strict=False):
        if gap.name == "gap":
            assert gap.json["resumes_at"] == after.id
            assert before.name != "gap"
    position, texts, lost = f"{epoch}-0", [], 0
    while True:
        found = page(server, f"{ABC}&after={position}")
        lost += (found["gap"] or {"lost_at_most": 0})["lost_at_most"]
        texts += found["messages"]
        position = found["position"]
        if not found["messages"]:
            break
    assert lost == 21 + 26 + 28
    assert len(texts) == 15
    assert [event.name for event in until_live(server, ABC)].count("gap") == 0


def test_old_messages_are_trimmed_without_a_publish(configured: Configured) -> None:
    server = configured('[[room]]\nmatch = "brief"\nmax_age = 1\n')
    batch(server, "brief", "long", "brief")
    wait_for(lambda: held(server) == {"long": 1}, "the age")
    assert page(server, "room=brief&room=long")["messages"][0]["room"] == "long"


def test_an_age_holds_for_all_rooms(serve: Serve, log: str) -> None:
    server = serve("--max-age", "1s", "--log", log)
    batch(server, "a", "b")
    wait_for(lambda: held(server) == {}, "the age")
    assert server.metric("roomcast_log_max_age_seconds") == 1


def test_rooms_and_metrics_show_the_rules_in_force(configured: Configured) -> None:
    server = configured('[[room]]\nmatch = "a/*"\nmax_messages = 7\nmax_bytes = "2KB"\nmax_age = "1h"\n')
    batch(server, "a/1", "b")
    [ruled, plain] = server.get("/rooms").json()["rooms"]
    assert re.fullmatch(r"\d{4}-.*Z", ruled.pop("oldest_at"))
    assert {name: ruled[name] for name in ("max_messages", "max_bytes", "max_age")} == {
        "max_messages": 7,
        "max_bytes": 2000,
        "max_age": 3600,
    }
    assert set(plain) == {"room", "messages", "newest", "newest_at", "followers"}
    assert server.metric('roomcast_room_messages_limit{match="a/*"}') == 7
    assert server.metric('roomcast_room_max_age_seconds{match="a/*"}') == 3600
    assert server.metric("roomcast_log_messages_limit") == 1_000_000
    assert server.metric("roomcast_log_bytes_limit") == 1_000_000_000
    assert server.metric("roomcast_log_oldest_timestamp_seconds") > 1e9


def test_rules_are_read_again_whole_or_not_at_all(configured: Configured, tmp_path: Path) -> None:
    server = configured('[[room]]\nmatch = "a"\nmax_messages = 50\n')
    batch(server, *["a"] * 40)
    file = tmp_path / "roomcast.toml"
    file.write_text('[[room]]\nmatch = "a"\nmax_messages = 5\n[[room]]\nmatch = "b"\nmax_messages = 0\n')
    server.process.send_signal(signal.SIGHUP)
    server.wait_until_it_says(r"stays as it was: roomcast.toml, line 6: \[\[room\]\] max_messages must be")
    assert held(server) == {"a": 40}
    file.write_text('[[room]]\nmatch = "a"\nmax_messages = 5\n')
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: held(server) == {"a": 5}, "the new rule")


def test_a_batch_larger_than_its_room_is_refused(configured: Configured) -> None:
    server = configured('[[room]]\nmatch = "a"\nmax_messages = 3\n')
    answer = server.post([{"room": "a", "text": "x"}] * 4)
    assert (answer.status_code, answer.json()["detail"]) == (413, "These are 4 messages for a, and it retains 3.")
    assert held(server) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[room]]\nmax_messages = 1\n", "line 1: [[room]] needs match"),
        ('[[room]]\nmatch = "a"\n', "line 1: [[room]] has no cap"),
        ('[[room]]\nmatch = "a*b"\nmax_age = 1\n', "must have * at its end only"),
        (
            '[[room]]\nmatch = "a"\nmax_mesages = 1\n',
            "'max_mesages' is not a column of [[room]]: did you mean max_messages?",
        ),
        ('room = "a"\n', "room must be rows: write [[room]] above each"),
        ('[[room]]\nmatch = "a"\nmax_age = 0.5\n', "max_age must be a time from 1 to"),
    ],
)
def test_a_mistake_in_a_rule_is_named_with_its_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "roomcast.toml").write_text(text)
    with pytest.raises(AssertionError, match=re.escape(says)):
        start_roomcast(tmp_path, "--config", "roomcast.toml")


@pytest.mark.parametrize("options", [("--config", "roomcast.toml"), ("--max-age", "1d")])
def test_a_log_in_mongodb_refuses_rules_at_the_start(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "roomcast.toml").write_text('[[room]]\nmatch = "a"\nmax_messages = 1\n')
    with pytest.raises(AssertionError, match=r"leave out \[\[room\]\] and --max-age"):
        start_roomcast(tmp_path, *options, "--log", "mongodb://127.0.0.1:1/serversentevents")
    assert PATIENCE
