"""Repeated kill -9 while rooms are trimmed by their rules and messages are deleted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from random import Random

import httpx

from tests.conftest import Serve
from tests.running import Running, wait_for

ROUNDS = 4
AGE, BUSY = 2.0, 5
RULES = f"""
[[room]]
match = "busy"
max_messages = {BUSY}
[[room]]
match = "aged"
max_age = {AGE}
"""
ROOMS = ("quiet", "quiet", "busy", "busy", "aged", "drafts")


class Author:
    """Publishes and deletes until the server is gone, and records what was acknowledged."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, float]] = {room: {} for room in ROOMS}
        """For each room the ids that must be there, in order, with the times of storing in seconds since 1970."""
        self.deleted: set[str] = set()
        self.doubtful: set[str] = set()
        """Ids whose delete was not answered."""
        self.acknowledged = 0
        self._random = Random(1)
        self._texts = count()

    def reached(self, goal: int) -> bool:
        return self.acknowledged >= goal

    def start(self, server: Running) -> threading.Thread:
        thread = threading.Thread(target=self._run, args=(server.url,), daemon=True)
        thread.start()
        return thread

    def _run(self, url: str) -> None:
        with httpx.Client(base_url=url) as client:
            try:
                while True:
                    self._publish(client)
                    if self._random.random() < 0.2:
                        self._delete(client)
                    if self._random.random() < 0.03:
                        self._delete_room(client)
            except httpx.TransportError:
                pass

    def _publish(self, client: httpx.Client) -> None:
        room = self._random.choice(ROOMS)
        answer = client.post("/messages", json={"room": room, "text": str(next(self._texts))})
        assert answer.status_code == 201
        stored = answer.json()
        self.stored[room][stored["id"]] = datetime.fromisoformat(stored["timestamp"]).timestamp()
        self.acknowledged += 1

    def _delete(self, client: httpx.Client) -> None:
        if ids := [*self.stored["quiet"]]:
            id = self._random.choice(ids)
            del self.stored["quiet"][id]
            self._gone([id], lambda: client.delete(f"/messages/{id}"))

    def _delete_room(self, client: httpx.Client) -> None:
        ids, self.stored["drafts"] = [*self.stored["drafts"]], {}
        self._gone(ids, lambda: client.delete("/rooms/drafts"))

    def _gone(self, ids: list[str], ask: Callable[[], httpx.Response]) -> None:
        self.doubtful.update(ids)
        assert ask().status_code == 204
        self.doubtful.difference_update(ids)
        self.deleted.update(ids)


def held(server: Running, room: str) -> set[str]:
    """The ids that a room retains."""
    found: set[str] = set()
    after = ""
    while True:
        page = server.get(
            f"/messages?room={room}&limit=1000{after}", headers={"Accept": "application/json"}
        ).json()
        if not page["messages"]:
            return found
        found.update(message["id"] for message in page["messages"])
        after = f"&after={page['position']}"


def check(server: Running, author: Author) -> None:
    for room in ("quiet", "drafts"):
        found = held(server, room)
        assert found >= set(author.stored[room]), f"{room} lost what was acknowledged"
        assert not found & author.deleted, f"{room} has deleted messages"
    # The publish that the kill interrupted may be stored; then it is one of the messages that the rule keeps.
    assert held(server, "busy") >= set([*author.stored["busy"]][-(BUSY - 1) :])
    found = held(server, "aged")
    young = time.time() - AGE
    assert found >= {id for id, stored_at in author.stored["aged"].items() if stored_at > young}


def test_kills_lose_nothing_that_a_rule_keeps_and_bring_nothing_back(serve: Serve, tmp_path: Path) -> None:
    config = tmp_path / "rules.toml"
    config.write_text(RULES)
    server = serve("--config", str(config))
    author = Author()
    for _ in range(ROUNDS):
        thread = author.start(server)
        goal = author.acknowledged + 60
        wait_for(partial(author.reached, goal), "60 messages")
        server.kill()
        thread.join()
        server = serve("--port", str(server.port), "--config", str(config))
        check(server, author)
    assert author.deleted
    wait_for(lambda: not held(server, "aged"), "old messages to go")
    wait_for(lambda: len(held(server, "busy")) == BUSY, "the rule of the busy room to be reached")
    check(server, author)
