"""Outages of the database, as the servers' users see them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.disks import small_disk
from tests.observer import Observer
from tests.postgresql.balancer import Balancer
from tests.postgresql.conftest import Serve
from tests.postgresql.database import Cluster
from tests.running import Running, wait_for

ROOM = "/messages?room=developers"


def ready(server: Running) -> bool:
    return server.get("/readyz").status_code == 200


@pytest.fixture
def url(own: Cluster) -> str:
    return own.url()


def test_a_message_posted_to_one_server_is_followed_on_another_and_resumed_on_a_third(
    serve_on: Serve, url: str
) -> None:
    first, second, third = (serve_on(url) for _ in range(3))
    with Observer(second.port, ROOM) as observer:
        observer.until_live()
        ids = [first.publish("one")["id"], second.publish("two")["id"], first.publish("three")["id"]]
        events = [observer.next() for _ in ids]
    assert [event.id for event in events] == ids
    wait_for(lambda: ready(third), "the third one to have it")
    with Observer(third.port, ROOM, headers={"Last-Event-ID": str(ids[0])}) as observer:
        assert [event.id for event in observer.until_live()][:-1] == ids[1:]
    assert first.terminate() == 0


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_followers_stay_through_an_outage_and_get_everything_after_it(
    serve_on: Serve, own: Cluster, url: str, end: str
) -> None:
    server = serve_on(url, "--heartbeat", "0.1")
    before = server.publish("before")
    with Observer(server.port, ROOM) as observer:
        observer.until_live()
        getattr(own, end)()
        wait_for(lambda: not ready(server), "the server to see it")
        assert "database" in server.get("/readyz").json()["detail"]
        observer.wait_for_heartbeats(3)
        assert server.get("/metrics").status_code == 200
        own.start()
        during = server.publish("during")
        wait_for(lambda: ready(server), "the server to be back")
        server.publish("after")
        assert observer.texts(2) == ["during", "after"]
    assert str(during["id"]).partition("-")[0] == str(before["id"]).partition("-")[0]
    server.wait_until_it_says("the log is away")
    server.wait_until_it_says("the log is back")
    assert "Traceback" not in server.said()


def test_the_server_starts_and_stops_while_the_database_is_away_and_says_so(
    serve_on: Serve, own: Cluster, url: str
) -> None:
    own.stop()
    server = serve_on(url)
    server.wait_until_it_says(r"^  log +postgresql://\S+, away: The database cannot be reached")
    assert server.get("/readyz").status_code == 503
    with Observer(server.port, ROOM) as observer:
        assert observer.status == 200
        assert observer.next_or_end() is None
        assert observer.retry
    other = serve_on(url)
    assert other.terminate() == 0
    own.start()
    wait_for(lambda: ready(server), "the server to find it")
    server.publish("hello")
    with Observer(server.port, ROOM) as observer:
        assert observer.texts(1) == ["hello"]
    assert "all streams end" not in server.said()


def test_a_server_that_finds_no_connection_left_says_so_and_goes_on_when_there_is_one(
    serve_on: Serve, own: Cluster, url: str
) -> None:
    database = url.rpartition("/")[2]
    own.sql("CREATE ROLE app LOGIN CONNECTION LIMIT 3")
    own.sql(f'GRANT CREATE ON DATABASE "{database}" TO app')
    server = serve_on(url.replace("roomcast@", "app@"))
    server.publish("before")
    own.sql("ALTER ROLE app CONNECTION LIMIT 0")
    own.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
    wait_for(lambda: not ready(server), "the server to see it")
    wait_for(lambda: "no connection left" in server.get("/readyz").json()["detail"], "it to say so")
    own.sql("ALTER ROLE app CONNECTION LIMIT 3")
    wait_for(lambda: ready(server), "the server to be back")
    server.publish("after")


def test_posts_are_refused_while_the_disk_is_full_and_accepted_afterwards(serve_on: Serve) -> None:
    with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder) / "disk", "150m") as disk:
        os.chmod(folder, 0o755)
        cluster = Cluster(disk, fsync="off", max_wal_size="32MB", min_wal_size="32MB")
        cluster.make()
        cluster.start()
        try:
            server = serve_on(cluster.url(), "--max-bytes", "1GB")
            acknowledged = [server.publish("before")["id"]]
            filler = disk / "filler"
            filler.write_bytes(b"x" * (shutil.disk_usage(disk).free - 200_000))
            for _ in range(200):
                answer = server.post([{"room": "developers", "text": "x" * 30_000}] * 30)
                if answer.status_code != 201:
                    break
                acknowledged += [message["id"] for message in answer.json()]
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            filler.unlink()
            if not cluster.runs():  # where its write-ahead log found no room, it gives up
                cluster.start()
            wait_for(lambda: server.post({"room": "developers", "text": "after"}).status_code == 201, "room")
            with Observer(server.port, ROOM) as observer:
                kept = {event.id for event in observer.until_live()}
            assert kept >= set(map(str, acknowledged))
        finally:
            cluster.remove()


def test_torture_finds_nothing_while_servers_and_the_database_are_killed(
    serve_on: Serve, own: Cluster, url: str
) -> None:
    servers = [serve_on(url) for _ in range(3)]
    third = servers[2]

    def until_published(count: int) -> None:
        goal = third.metric("roomcast_tail_position") + count
        wait_for(lambda: third.metric("roomcast_tail_position") >= goal, "more to be published")

    with Balancer([server.port for server in servers]) as balancer:
        at = f"http://127.0.0.1:{balancer.port}"
        attack = subprocess.Popen(
            [sys.executable, "-m", "roomcast", "torture", at, "--minutes", "0.15", "--followers", "30", "--yes"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        until_published(30)
        servers[0].kill()
        until_published(30)
        own.kill()
        own.start()
        wait_for(lambda: ready(third), "the third server to be back")
        balancer.ports[0] = serve_on(url).port
        servers[1].kill()
        said, _ = attack.communicate(timeout=120)
    assert attack.returncode == 0, said
