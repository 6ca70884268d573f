"""Compares the real server with a model that forgets nothing, through any order of publishes, follows, cuts,
pages, restarts, kills and changed caps. ROOMCAST_TEST_MODEL_EXAMPLES sets the number of examples of a longer
search.

Similar tests: tests/log/test_state_machine.py tests the log alone, without streams and kills;
tests/server/test_random_life.py has many clients at once, so it can predict less of what each must hear.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.observer import Observer
from tests.running import Running, start_roomcast, wait_for

ROOMS = ["a", "b", "c"]
some_rooms = st.lists(st.sampled_from([*ROOMS, "never"]), min_size=1, max_size=4, unique=True)
anywhere = st.floats(0, 1)
"""A position in the log, as a fraction of all messages ever stored."""
caps = st.sampled_from([1, 3, 8, 100])


class Event(NamedTuple):
    """An event of a stream, in either format."""

    name: str
    id: str
    data: Any


class Follower:
    """A stream that is live."""

    def __init__(self, port: int, rooms: Sequence[str], query: str, headers: dict[str, str], ndjson: bool) -> None:
        self.rooms = rooms
        self.position = 0
        """The seq up to which it has heard everything."""
        accept = "application/x-ndjson" if ndjson else "text/event-stream"
        target = "/messages?" + "&".join([*(f"room={room}" for room in rooms), *([query] if query else [])])
        self.observer = Observer(port, target, headers={"Accept": accept, **headers})
        assert self.observer.status == 200
        self.events = self._lines() if ndjson else (Event(e.name, e.id, e.json) for e in self.observer)

    def _lines(self) -> Iterator[Event]:
        while (told := self.observer.next_row()) is not None:
            if told["event"] != "retry":
                yield Event(told["event"], told["id"], told["data"])


class ServerMachine(RuleBasedStateMachine):
    """The server and its model."""

    @initialize(cap=caps)
    def start(self, cap: int) -> None:
        self.directory = tempfile.TemporaryDirectory()
        self.cap = cap
        self.server = self._started()
        self.epoch = self.server.get("/readyz").json()["position"].split("-")[0]
        self.stored: list[dict[str, Any]] = []
        """Every message ever stored; the index is its seq - 1."""
        self.keys: dict[str, tuple[Any, list[dict[str, Any]]]] = {}
        self.trimmed = 0
        self.followers: list[Follower] = []

    def _started(self) -> Running:
        return start_roomcast(Path(self.directory.name), "--no-access-log", f"--max-messages={self.cap}")

    def teardown(self) -> None:
        if hasattr(self, "server"):
            self._cut_all()
            self.server.kill()
            said = self.server.said()
            self.directory.cleanup()
            assert "Traceback" not in said, said

    # The model

    def id(self, seq: int) -> str:
        return f"{self.epoch}-{seq}"

    def place(self, part: float) -> int:
        return round(part * len(self.stored))

    def of(self, rooms: Sequence[str], after: int, to: int | None = None) -> list[dict[str, Any]]:
        """The retained messages of these rooms, after < seq <= to."""
        return [m for m in self.stored[max(after, self.trimmed) : to] if m["room"] in rooms]

    def settle(self) -> None:
        """Waits until the log is trimmed to its cap."""
        self.trimmed = max(self.trimmed, len(self.stored) - self.cap)
        left = len(self.stored) - self.trimmed
        wait_for(lambda: self.server.metric("roomcast_log_messages") == left, "the trimming")

    def check_gap(self, gap: Any, rooms: Sequence[str], after: int, sent: str, found: Sequence[Any]) -> None:
        lost = [m["room"] for m in self.stored[after : self.trimmed] if m["room"] in rooms]
        assert bool(gap) == bool(lost), (gap, lost)
        if gap:
            resumes_at = found[0]["id"] if found else None
            assert (gap["after"], gap["resumes_at"], gap["reason"]) == (sent, resumes_at, "trimmed")
            assert gap["rooms"] == sorted(set(lost))
            assert gap["lost_at_most"] == len(lost)

    # What can happen

    @rule(room=st.sampled_from(ROOMS), size=st.integers(1, 9), key=st.none() | st.sampled_from("kl"))
    def publish(self, room: str, size: int, key: str | None) -> None:
        self.settle()
        body = [{"room": room, "text": f"{size} in {room}"}] * size
        answer = self.server.post(body, headers={"Idempotency-Key": key} if key else {})
        known, messages = self.keys.get(key or "", (None, [])) if key else (None, [])
        if messages:  # a key is kept for ten minutes, even if its messages are trimmed
            assert answer.status_code == (200 if known == body else 422)
            assert known != body or answer.json() == messages
        elif size > self.cap:
            assert answer.status_code == 413
        else:
            assert answer.status_code == 201
            stored = answer.json()
            assert [m["id"] for m in stored] == [self.id(len(self.stored) + 1 + n) for n in range(size)]
            assert [(m["room"], m["text"]) for m in stored] == [(m["room"], m["text"]) for m in body]
            self.stored += stored
            if key:
                self.keys[key] = (body, stored)

    @rule(rooms=some_rooms, replay=st.sampled_from(["all", "none", 0, 1, 5]), ndjson=st.booleans())
    def follow(self, rooms: list[str], replay: str | int, ndjson: bool) -> None:
        self.settle()
        follower = self._follower(rooms, f"replay={replay}", {}, ndjson)
        everything = self.of(rooms, 0)
        count = {"all": len(everything), "none": 0}.get(str(replay), replay)
        assert isinstance(count, int)
        self._expect_live(follower, everything[max(0, len(everything) - count) :])

    @rule(rooms=some_rooms, part=anywhere, ndjson=st.booleans(), in_query=st.booleans())
    def resume(self, rooms: list[str], part: float, ndjson: bool, in_query: bool) -> None:
        self.settle()
        after = self.place(part)
        sent = self.id(after)
        query, headers = (f"last_event_id={sent}", {}) if in_query else ("", {"Last-Event-ID": sent})
        follower = self._follower(rooms, query, headers, ndjson)
        found = self.of(rooms, after)
        if any(m["room"] in rooms for m in self.stored[after : self.trimmed]):
            gap = next(follower.events)
            assert gap.name == "gap"
            before = int(found[0]["id"].split("-")[1]) if found else len(self.stored) + 1
            assert gap.id == self.id(before - 1)
            self.check_gap(gap.data, rooms, after, sent, found)
        self._expect_live(follower, found)

    @rule(rooms=some_rooms, reason=st.sampled_from(["epoch", "future", "malformed"]), ndjson=st.booleans())
    def resume_from_nowhere(self, rooms: list[str], reason: str, ndjson: bool) -> None:
        self.settle()
        sent = {"epoch": "other-1", "future": self.id(len(self.stored) + 1), "malformed": "?"}[reason]
        follower = self._follower(rooms, "", {"Last-Event-ID": sent}, ndjson)
        gap = next(follower.events)
        assert (gap.name, gap.data["reason"], gap.data["after"]) == ("gap", reason, sent)
        self._expect_live(follower, self.of(rooms, 0))

    def _follower(self, rooms: Sequence[str], query: str, headers: dict[str, str], ndjson: bool) -> Follower:
        """Opens a stream; cuts the oldest if there are four."""
        if len(self.followers) == 4:
            self.followers.pop(0).observer.cut()
        self.followers.append(Follower(self.server.port, rooms, query, headers, ndjson))
        return self.followers[-1]

    def _expect_live(self, follower: Follower, found: Sequence[Any]) -> None:
        heard = [next(follower.events) for _ in found]
        assert [(event.id, event.data) for event in heard] == [(m["id"], m) for m in found]
        live = next(follower.events)
        assert live == Event("live", self.id(len(self.stored)), {"replayed": len(found)})
        follower.position = len(self.stored)

    @precondition(lambda self: self.followers)
    @rule()
    def hear(self) -> None:
        self._hear_all()

    def _hear_all(self) -> None:
        """Checks that the live followers heard everything, also messages that were trimmed since."""
        for follower in self.followers:
            missed = [m for m in self.stored[follower.position :] if m["room"] in follower.rooms]
            assert [next(follower.events).data for _ in missed] == missed
            follower.position = len(self.stored)

    def _cut_all(self) -> None:
        for follower in self.followers:
            follower.observer.cut()
        self.followers.clear()

    @rule(rooms=some_rooms, part=anywhere, limit=st.integers(1, 12))
    def page_after(self, rooms: list[str], part: float, limit: int) -> None:
        self.settle()
        after = self.place(part)
        page = self._page(rooms, after=self.id(after), limit=limit)
        found = self.of(rooms, after)[:limit]
        assert page["messages"] == found
        assert page["position"] == (found[-1]["id"] if len(found) == limit else self.id(len(self.stored)))
        self.check_gap(page["gap"], rooms, after, self.id(after), found)

    @rule(rooms=some_rooms, part=anywhere, limit=st.integers(1, 12))
    def page_before(self, rooms: list[str], part: float, limit: int) -> None:
        self.settle()
        before = self.place(part) + 1
        page = self._page(rooms, before=self.id(before), limit=limit)
        assert page["messages"] == self.of(rooms, 0, before - 1)[-limit:]
        assert page["gap"] is None

    def _page(self, rooms: Sequence[str], **query: str | int) -> Any:
        params = [*(("room", room) for room in rooms), *query.items()]
        answer = self.server.get("/messages", params=params, headers={"Accept": "application/json"})
        assert answer.status_code == 200, answer.text
        return answer.json()

    @rule(part=anywhere)
    def one_message(self, part: float) -> None:
        self.settle()
        seq = self.place(part)
        answer = self.server.get(f"/messages/{self.id(seq)}")
        assert answer.status_code == (404 if seq == 0 else 410 if seq <= self.trimmed else 200)
        if answer.status_code == 200:
            assert answer.json() == self.stored[seq - 1]

    @rule(kill=st.booleans(), cap=caps)
    def restart(self, kill: bool, cap: int) -> None:
        self._hear_all()
        if kill:
            self.server.process.kill()
        else:
            assert self.server.terminate() == 0
            for follower in self.followers:
                assert next(follower.events, None) is None
                assert follower.observer.clean_end
        self._cut_all()
        self.server.kill()
        assert "Traceback" not in self.server.said()
        may_be_trimmed = max(self.trimmed, len(self.stored) - min(self.cap, cap))
        self.cap = cap
        self.server = self._started()
        trimmed = len(self.stored) - int(self.server.metric("roomcast_log_messages"))
        assert self.trimmed <= trimmed <= may_be_trimmed  # the trimming was interrupted
        self.trimmed = trimmed


TestServer = ServerMachine.TestCase
TestServer.settings = settings(
    max_examples=int(os.environ.get("ROOMCAST_TEST_MODEL_EXAMPLES", "6")),
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
