"""`GET /followers`: the followers and their positions."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.cli.shell import TO_THE_END, Program, run
from tests.client.scripted import ScriptedServer, aside
from tests.observer import Observer
from tests.running import PATIENCE, Running, start_roomcast, wait_for

ADMIN, READER = "rck_admin_" + "a" * 43, "rck_reader_" + "r" * 43
ROWS = '[[key]]\nname = "{}"\nsha256 = "{}"\n{}\n'
LARGE = "x" * 50_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("server")
    keys = [(ADMIN, "admin = true\nread = ['*']\npublish = ['*']"), (READER, "read = ['*']")]
    rows = [ROWS.format(key.split("_")[1], hashlib.sha256(key.encode()).hexdigest(), may) for key, may in keys]
    (folder / "roomcast.toml").write_text("\n".join(rows))
    running = start_roomcast(folder, "--config=roomcast.toml", "--max-bytes=100MB")
    yield running
    running.end()


def followers(server: Running, query: str = "") -> list[dict[str, object]]:
    answer = server.get(f"/followers{query}", headers=bearer(ADMIN))
    assert answer.status_code == 200, answer.text
    found: list[dict[str, object]] = answer.json()["followers"]
    return found


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@contextlib.contextmanager
def following(server: Running, query: str = "room=quiet", **more: object) -> Iterator[Observer]:
    headers = {**bearer(READER), "User-Agent": "tester/1.0", "X-Forwarded-For": "203.0.113.7"}
    with Observer(server.port, f"/messages?{query}", headers=headers, **more) as follower:  # type: ignore[arg-type]
        yield follower


@pytest.fixture(autouse=True)
def gone(server: Running) -> Iterator[None]:
    """No test meets another's followers."""
    yield
    wait_for(lambda: followers(server) == [], "the end of all streams")


def publish(server: Running, room: str, text: str) -> httpx.Response:
    return server.post({"room": room, "text": text}, headers=bearer(ADMIN))


def test_a_follower_is_listed_with_its_principal_its_address_and_its_position(server: Running) -> None:
    assert followers(server) == []
    with following(server, "room=b&room=a&prefix=team/") as follower:
        follower.until_live()
        publish(server, "a", "x")
        assert follower.texts(1) == ["x"]
        [row] = followers(server)
    since = datetime.fromisoformat(str(row.pop("since")))
    assert abs(datetime.now(UTC) - since) < timedelta(minutes=1)
    assert row.pop("number")
    position = server.get("/readyz").json()["position"]
    assert row == {
        "worker": 1,
        "rooms": ["a", "b"],
        "prefixes": ["team/"],
        "position": position,
        "behind": 0,
        "waiting": 0,
        "address": "203.0.113.7",
        "principal": "reader",
        "user_agent": "tester/1.0",
    }


def test_a_follower_that_does_not_read_is_listed_as_behind_with_waiting_bytes(server: Running) -> None:
    query = "room=loud&replay=none"
    with following(server, query) as reading, following(server, query, receive_buffer=4096) as stuck:
        reading.until_live()
        stuck.until_live()
        for _ in range(30):
            publish(server, "loud", LARGE)
            assert reading.texts(1) == [LARGE]
        wait_for(lambda: len(followers(server, "?behind=1")) == 1, "one that is behind")
        [row] = followers(server, "?behind=1")
        assert row["number"] == max(int(str(one["number"])) for one in followers(server))
        assert int(str(row["behind"])) > 10
        assert int(str(row["waiting"])) > 0
        assert followers(server, "?behind=31") == []


def test_the_pages_list_all_followers_oldest_first(server: Running) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(following(server)).until_live()
        pages, path = [], "/followers?limit=2"
        while path:
            answer = server.get(path, headers=bearer(ADMIN))
            pages.append([row["number"] for row in answer.json()["followers"]])
            path = (re.findall("<(.*)>", answer.headers.get("link", "")) or [""])[0]
        assert [len(page) for page in pages] == [2, 2, 1]
        numbers = [number for page in pages for number in page]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize(("key", "status"), [(None, 401), (READER, 403), (ADMIN, 200)])
def test_listing_followers_needs_the_right_admin(server: Running, key: str | None, status: int) -> None:
    assert server.get("/followers", headers=bearer(key) if key else {}).status_code == status


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "after=7", "after=1-2-x", "behind=-1", "limits=2"])
def test_a_query_for_followers_that_makes_no_sense_is_refused(server: Running, query: str) -> None:
    assert server.get(f"/followers?{query}", headers=bearer(ADMIN)).status_code == 422


def test_a_long_user_agent_is_cut(server: Running) -> None:
    headers = {**bearer(READER), "User-Agent": "x" * 5_000}
    with Observer(server.port, "/messages?room=a", headers=headers) as follower:
        follower.until_live()
        assert followers(server)[0]["user_agent"] == "x" * 200


def test_the_command_writes_each_follower_as_a_line_of_json(server: Running) -> None:
    with following(server) as follower:
        follower.until_live()
        done = run("followers", url=server.url, ROOMCAST_TOKEN=ADMIN)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert '"address":"203.0.113.7"' in done.stdout
    refused = run("followers", url=server.url, ROOMCAST_TOKEN=READER)
    assert (refused.returncode, refused.stdout) == (1, "")


def test_in_a_terminal_the_command_draws_a_table_again_and_again(server: Running) -> None:
    with following(server) as follower:
        follower.until_live()
        with Program("followers", "--every=100ms", url=server.url, terminal=True, ROOMCAST_TOKEN=ADMIN) as program:
            program.until("1 follower, 0 behind")
            program.until("203.0.113.7")
    with Program("followers", "--every=100ms", url=server.url, terminal=True, ROOMCAST_TOKEN=ADMIN) as program:
        program.until("0 followers, 0 behind")
        with following(server):
            program.until("1 follower, 0 behind")
        program.out = ""
        program.until("0 followers, 0 behind")


def test_the_command_names_workers_that_do_not_answer_on_whichever_page() -> None:
    scripted = ScriptedServer()
    running = aside(run, "followers", url=scripted.url.removesuffix("/events"))
    following = '<http://x/followers?after=1-1-1&limit=1000>; rel="next"'
    scripted.next().answer("200 OK", f"Link: {following}", body=b'{"followers":[],"missing":[7]}')
    scripted.next().answer("200 OK", body=b'{"followers":[],"missing":[2,7]}')
    done = running.result(TO_THE_END + PATIENCE)
    scripted.close()
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "roomcast: no answer from workers 2, 7, whose followers are left out\n"
