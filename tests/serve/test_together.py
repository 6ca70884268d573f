"""Everything that belongs to the server as a whole, and not to one of its workers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import httpx
import pytest

from roomcast.model.settings.key import Key
from tests.certificate import connect
from tests.rights.serving import ALL, FOUR, KEYS, SECRET, ticket
from tests.running import Running, start_roomcast, wait_for
from tests.workers import each_worker, kill, wait_until_another


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with every limit that two workers would double if each counted alone."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "secret").write_text(SECRET)
    rows = [_row(KEYS[0], "metrics = true\nadmin = true"), _row(KEYS[2], 'streams = 2\npublish_rate = "5/h"')]
    (folder / "roomcast.toml").write_text("\n".join(["open = true", *rows]))
    limits = ("--max-followers=6", "--publish-rate=1/m", "--publish-burst=40", "--max-connections-per-address=30")
    options = (
        "--workers=2",
        "--trusted-proxy=",
        "--secret-file=secret",
        "--config=roomcast.toml",
        "--heartbeat=1",
    )
    server = start_roomcast(folder, *options, *limits)
    yield server
    server.kill()


def _row(key: Key, more: str) -> str:
    return f'[[key]]\nname = "{key.name}"\nsha256 = "{key.sha256}"\nread = ["*"]\npublish = ["*"]\n{more}\n'


class Follower:
    """A stream at one worker, over its own connection."""

    def __init__(self, client: httpx.Client, target: str, key: str = "") -> None:
        self._stack = contextlib.ExitStack()
        bearer = {"Authorization": f"Bearer {key}"} if key else None
        self.answer = self._stack.enter_context(client.stream("GET", target, headers=bearer))
        self._lines = self.answer.iter_lines()

    def until(self, beginning: str) -> str:
        """The next line that begins with `beginning`."""
        return next(line for line in self._lines if line.startswith(beginning))

    def close(self) -> None:
        self._stack.close()


def metric(client: httpx.Client, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.MULTILINE)
    assert found, name
    return float(found[1])


@contextlib.contextmanager
def following(workers: Sequence[httpx.Client], target: str) -> Iterator[list[Follower]]:
    """One stream at each worker."""
    followers = [Follower(client, target) for client in workers]
    try:
        yield followers
    finally:
        for follower in followers:
            follower.close()


def listed(client: httpx.Client, query: str = "") -> dict[str, Any]:
    """A page of `GET /followers`, with the `next` of its link."""
    answer = client.get(f"/followers{query}", headers={"Authorization": f"Bearer {ALL}"})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return {**found, "next": answer.links.get("next", {}).get("url", "").removeprefix("/followers")}


def test_the_followers_listed_are_those_of_all_workers_in_one_order_over_all_pages(server: Running) -> None:
    def places(page: dict[str, Any]) -> list[tuple[str, int, int]]:
        return [(row["since"], row["worker"], row["number"]) for row in page["followers"]]

    with each_worker(server) as workers, contextlib.ExitStack() as stack:
        wait_for(lambda: all(listed(client)["followers"] == [] for client in workers), "the end of older ones")
        for _ in range(2):
            clients = stack.enter_context(each_worker(server))
            for follower in stack.enter_context(following(clients, "/messages?room=listed&prefix=x")):
                follower.until("data: ")
        first, second = (listed(client) for client in workers)
        assert first == second, "whichever answers"
        assert (places(first), first["missing"]) == (sorted(places(first)), [])
        assert sorted(row["worker"] for row in first["followers"]) == [1, 1, 2, 2]
        assert first["followers"][0]["rooms"] == ["listed"]
        found: list[tuple[str, int, int]] = []
        query = "?limit=1"
        while query:
            page = listed(workers[len(found) % 2], query)
            found += places(page)
            query = page["next"]
        assert found == places(first), "each is on one page"


def test_a_worker_that_stands_still_is_named_and_the_server_stays_ready(server: Running) -> None:
    with each_worker(server) as clients, following(clients, "/messages?room=still") as followers:
        for follower in followers:
            follower.until("data: ")
        with each_worker(server) as workers:
            wait_for(lambda: len(listed(workers[1])["followers"]) == 2, "these followers alone")
            opened = metric(workers[1], "roomcast_streams_opened_total")
            pid = kill(server, "1", signal.SIGSTOP)
            try:
                told, ready = listed(workers[1]), workers[1].get("/readyz")
                shown = metric(workers[1], "roomcast_streams_opened_total")
            finally:
                os.kill(pid, signal.SIGCONT)
            assert ([row["worker"] for row in told["followers"]], told["missing"]) == ([2], [1])
            assert (ready.status_code, ready.json()["missing"]) == (200, [1])
            assert shown == opened
            assert ready.json()["detail"] == "worker 1: it does not answer"
            wait_for(lambda: listed(workers[1])["missing"] == [], "its answer")
            assert len(listed(workers[1])["followers"]) == 2
            assert workers[1].get("/readyz").json()["missing"] == []


def test_the_followers_of_a_room_are_those_of_all_workers(server: Running) -> None:
    with (
        each_worker(server) as workers,
        each_worker(server) as others,
        following(workers, "/messages?room=together&room=beside") as followers,
    ):
        for follower in followers:
            follower.until("event: live")
        for client in others:
            rooms = client.get("/rooms").json()["rooms"]
            counted = {room["room"]: room["followers"] for room in rooms}
            assert (counted["together"], counted["beside"]) == (2, 2)
            assert metric(client, "roomcast_followers") == 2
            assert metric(client, 'roomcast_worker_followers{worker="1"}') == 1


def test_metrics_are_those_of_the_server_and_never_fall(server: Running) -> None:
    with each_worker(server) as workers:
        for client in workers:
            assert client.post("/rooms/metrics", content="x").status_code == 201
        published = [metric(client, "roomcast_messages_published_total") for client in workers]
        assert published[0] == published[1] >= 2
        text = workers[0].get("/metrics").text
    for process in ("log", "1", "2"):
        assert f'roomcast_worker_cpu_seconds_total{{worker="{process}"}}' in text
        assert f'roomcast_worker_resident_memory_bytes{{worker="{process}"}}' in text
    for name in ("followers", "tail_position", "longest_turn_seconds"):
        assert f'roomcast_worker_{name}{{worker="2"}}' in text
    assert len(re.findall("^# TYPE roomcast_messages_published_total", text, re.MULTILINE)) == 1
    before = [restarts(server, process) for process in ("log", "1", "2")]
    wait_until_another(server, "1", kill(server, "1"))
    with each_worker(server) as workers:
        for client in workers:
            assert metric(client, "roomcast_messages_published_total") == published[0]
    assert [restarts(server, process) for process in ("log", "1", "2")] == [before[0], before[1] + 1, before[2]]
    used = server.metric("process_cpu_seconds_total")
    wait_until_another(server, "log", kill(server, "log"))
    wait_for(lambda: restarts(server, "log") == before[0] + 1, "the next log process")
    wait_for(lambda: "\nroomcast_messages_published" in server.get("/metrics").text, "the counts of all workers")
    assert server.metric("roomcast_messages_published_total") == published[0]
    assert server.metric("process_cpu_seconds_total") >= used


def restarts(server: Running, process: str) -> float:
    """How often a process was replaced; -1 while it does not answer."""
    found = re.search(rf'restarts_total{{worker="{process}"}} (\S+)', server.get("/metrics").text)
    return float(found[1]) if found else -1.0


def test_max_followers_counts_those_of_all_workers(server: Running) -> None:
    with contextlib.ExitStack() as stack:
        streams = []
        for _ in range(3):
            workers = stack.enter_context(each_worker(server))
            streams += stack.enter_context(following(workers, "/messages?room=many"))
        for stream in streams:
            stream.until("event: live")
        assert server.metric("roomcast_followers_limit") == 6

        def is_full() -> bool:
            with each_worker(server) as workers:
                answers = [_first_line(client) for client in workers]
            return all(re.fullmatch(r"retry: \d{4,5}", line) and line != "retry: 3000" for line in answers)

        wait_for(is_full, "both to be full")


def _first_line(client: httpx.Client, target: str = "/messages?room=many", key: str = "") -> str:
    follower = Follower(client, target, key)
    try:
        return follower.until("")
    finally:
        follower.close()


def _is_sent_away(client: httpx.Client, target: str, key: str) -> bool:
    """Whether a stream ends at once: one that goes on begins with another `retry:`."""
    return _first_line(client, target, key) != "retry: 3000"


def test_a_ticket_has_one_stream_at_all_workers(server: Running) -> None:
    target = f"/messages?room=alone&ticket={ticket('alone')}"
    with each_worker(server) as workers:
        first = Follower(workers[0], target)
        first.until("event: live")
        second = Follower(workers[1], target)
        second.until("event: live")
        assert first.until("event: roomcast.end")
        assert first.until("data: ") == 'data: {"reason":"replaced"}'
        first.close()
        second.close()


def test_a_principals_streams_and_publishes_are_counted_at_all_workers(server: Running) -> None:
    bearer = {"Authorization": f"Bearer {FOUR}"}
    with each_worker(server) as workers, each_worker(server) as others:
        followers = [Follower(client, "/messages?room=quota", FOUR) for client in workers]
        for follower in followers:
            follower.until("event: live")
        for client in others:
            wait_for(partial(_is_sent_away, client, "/messages?room=quota", FOUR), "it to be sent away")
        for follower in followers:
            follower.close()
    with each_worker(server) as workers:
        while workers[0].post("/rooms/quota", content="x", headers=bearer).status_code == 201:
            pass
        time.sleep(1)  # as the docs say
        assert workers[1].post("/rooms/quota", content="x", headers=bearer).status_code == 429


def test_a_revocation_at_one_worker_ends_the_streams_of_all(server: Running) -> None:
    target = f"/messages?room=revoked&ticket={ticket('revoked', sub='42')}"
    with each_worker(server) as workers, each_worker(server) as others:
        follower = Follower(workers[1], target)
        follower.until("event: live")
        answer = others[0].post("/revocations", json={"sub": "42"}, headers={"Authorization": f"Bearer {ALL}"})
        assert answer.status_code < 300, answer.text
        follower.until("event: roomcast.end")
        assert follower.until("data: ") == 'data: {"reason":"revoked"}'
        follower.close()


def test_a_clients_connections_are_counted_at_all_workers(server: Running) -> None:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(connect(server.port)) for _ in range(28)]

        def refused() -> bool:
            probes = [stack.enter_context(connect(server.port)) for _ in range(6)]
            for probe in probes:
                probe.settimeout(0.5)
            cut = 0
            for probe in probes:
                with contextlib.suppress(TimeoutError):
                    try:
                        cut += probe.recv(1) == b""
                    except ConnectionResetError:
                        cut += 1
                probe.close()
            return cut > 0

        wait_for(refused, "one more to be refused")
        del sockets


def test_a_clients_publishes_are_counted_at_all_workers(server: Running) -> None:
    """Must be the last test: the budget does not come back."""
    with each_worker(server) as workers:
        while workers[0].post("/rooms/rate", content="x").status_code == 201:
            pass
        at_the_other = 0
        while workers[1].post("/rooms/rate", content="x").status_code == 201:
            at_the_other += 1
            time.sleep(0.1)  # so that its own burst lasts for four seconds
        assert at_the_other < 20
