"""Several servers on one collection, and outages of their database, as users see them."""

from __future__ import annotations

import signal

import pytest

from tests.mongodb.conftest import Serve
from tests.mongodb.database import FerretDB, fresh_name
from tests.observer import Observer
from tests.running import Running, wait_for

ROOM = "/messages?room=developers"


def ready(server: Running) -> bool:
    return server.get("/readyz").status_code == 200


def test_a_message_posted_to_one_server_is_followed_on_another_and_resumed_on_a_third(
    serve_on: Serve, url: str
) -> None:
    first, second, third = (serve_on(url) for _ in range(3))
    with Observer(second.port, ROOM) as observer:
        observer.until_live()
        ids = [first.publish("one")["id"], second.publish("two")["id"], first.publish("three")["id"]]
        events = [observer.next() for _ in ids]
    assert [event.id for event in events] == ids
    with Observer(third.port, ROOM, headers={"Last-Event-ID": str(ids[0])}) as observer:
        assert [event.id for event in observer.until_live()][:-1] == ids[1:]
    assert first.terminate() == 0


def test_followers_stay_through_an_outage_and_get_everything_after_it(serve_on: Serve, database: FerretDB) -> None:
    server = serve_on(f"{database.url}/{fresh_name()}", "--heartbeat", "0.1")
    server.publish("before")
    with Observer(server.port, ROOM) as observer:
        observer.until_live()
        database.kill()
        wait_for(lambda: not ready(server), "the server to see it")
        assert "database" in server.get("/readyz").json()["detail"]
        observer.wait_for_heartbeats(3)
        assert server.get("/metrics").status_code == 200
        database.start()
        assert server.publish("during")["text"] == "during"
        wait_for(lambda: ready(server), "the server to be back")
        server.publish("after")
        assert observer.texts(2) == ["during", "after"]
    server.wait_until_it_says("the log is away")
    server.wait_until_it_says("the log is back")


def test_the_server_starts_while_the_database_is_away_and_says_so(serve_on: Serve, database: FerretDB) -> None:
    database.kill()
    server = serve_on(f"{database.url}/{fresh_name()}?serverSelectionTimeoutMS=300", patience=1)
    server.wait_until_it_says(r"^  log +mongodb://\S+, away: The database cannot be reached")
    assert server.get("/healthz").status_code == 200
    assert server.get("/readyz").status_code == 503
    with Observer(server.port, ROOM) as observer:
        assert observer.status == 200
        assert observer.next_or_end() is None
        assert observer.retry
        assert 2_000 <= observer.retry <= 10_000
    answer = server.post({"room": "developers", "text": "lost"})
    assert (answer.status_code, bool(answer.headers["retry-after"])) == (503, True)
    assert "The database cannot be reached" in answer.json()["detail"]
    assert "Traceback" not in server.said()
    database.start()
    wait_for(lambda: ready(server), "the server to find it")
    assert server.publish("hello")["text"] == "hello"
    with Observer(server.port, ROOM) as observer:
        assert observer.texts(1) == ["hello"]
    server.wait_until_it_says("the log is back")
    assert "all streams end" not in server.said()


def test_a_mistake_that_waiting_does_not_fix_is_reported_when_the_database_is_back(
    serve_on: Serve, database: FerretDB
) -> None:
    database.kill()
    server = serve_on(database.url.replace("://", "://somebody:hunter2@") + "/x?serverSelectionTimeoutMS=300")
    database.start()
    server.wait_until_it_says(r"the log is away, .*: \S+ refuses the user or the password")
    assert "refuses the user" in server.get("/readyz").json()["detail"]
    assert "hunter2" not in server.said()


def test_a_server_stops_while_the_database_is_away(serve_on: Serve, database: FerretDB) -> None:
    server = serve_on(f"{database.url}/{fresh_name()}")
    database.kill()
    wait_for(lambda: not ready(server), "the server to see it")
    assert server.terminate() == 0


def test_a_publish_waits_for_a_while_and_is_then_refused(serve_on: Serve, database: FerretDB) -> None:
    server = serve_on(f"{database.url}/{fresh_name()}", patience=1)
    database.kill()
    answer = server.post({"room": "developers", "text": "lost"})
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "database" in answer.json()["detail"]
    database.start()
    wait_for(lambda: ready(server), "the server to be back")
    assert server.publish("found")["id"].endswith("-1")  # type: ignore[attr-defined]


@pytest.mark.parametrize("number", [signal.SIGKILL])
def test_a_killed_server_leaves_a_log_that_others_continue(serve_on: Serve, url: str, number: int) -> None:
    first, second = serve_on(url), serve_on(url)
    ids = [first.publish(str(n))["id"] for n in range(5)]
    first.process.send_signal(number)
    ids.append(second.publish("5")["id"])
    with Observer(serve_on(url).port, ROOM) as observer:
        assert [event.id for event in observer.until_live()][:-1] == ids
