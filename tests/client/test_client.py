"""Both clients with a real server, and with rare answers."""

from __future__ import annotations

import asyncio
import json
import queue
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import httpx
import pytest

from roomcast.client import AsyncClient, Client, Gap, Live, Message, Pause, Refused, Unreachable, request
from roomcast.client.stream_state import StreamState
from roomcast.model.errors import Gone, Invalid, KeyReused, LogUnavailable, NotFound, TooLarge
from tests.client.conftest import MakeClient
from tests.client.scripted import ScriptedServer, aside
from tests.conftest import Serve
from tests.running import PATIENCE, Running, wait_for

PROBLEM = "Content-Type: application/problem+json"


def test_a_follower_gets_the_published_messages(server: Running, client: MakeClient) -> None:
    one = client(server.url)
    sent = [
        one.publish("developers", text="hello"),
        one.publish("developers", data={"order": [7, None]}, type="order.paid", user="till"),
        *one.publish_batch([{"room": "developers", "text": "a"}, {"room": "news", "text": "b"}]),
    ]
    heard = [*islice(one.follow("developers", "news"), 5)]
    assert heard[:4] == sent
    assert heard[4] == Live(4, id=sent[-1].id)
    assert sent[1] == Message(
        sent[1].id, "developers", "till", sent[1].timestamp, None, "order.paid", {"order": [7, None]}, sent[1].json
    )
    assert abs(sent[0].timestamp - datetime.now(UTC)) < timedelta(seconds=PATIENCE)
    assert json.loads(sent[1].json)["data"] == {"order": [7, None]}


def test_none_is_a_value_of_data(server: Running, client: MakeClient) -> None:
    one = client(server.url)
    assert '"data":null' in one.publish("developers", data=None).json
    assert '"data"' not in one.publish("developers", text="x").json


@pytest.mark.parametrize(
    "where",
    [{"since": "10m"}, {"since": timedelta(minutes=10)}, {"replay": 2}, {"replay": "all"}, {}],
)
def test_a_follow_starts_at_since_or_replay(server: Running, client: MakeClient, where: dict[str, Any]) -> None:
    one = client(server.url)
    stored = [one.publish("developers", text=str(n)) for n in range(2)]
    assert [*islice(one.follow("developers", **where), 3)] == [*stored, Live(2, id=stored[1].id)]


def test_a_follow_starts_now_or_after_an_id(server: Running, client: MakeClient) -> None:
    one = client(server.url)
    stored = [one.publish("developers", text=str(n)) for n in range(2)]
    assert next(iter(one.follow("developers", replay="none"))) == Live(0, id=stored[1].id)
    assert next(iter(one.follow("developers", since=datetime.now(UTC) + timedelta(days=1)))) == Live(
        0, id=stored[1].id
    )
    assert next(iter(one.follow("developers", last_event_id=stored[0].id))) == stored[1]


def test_a_time_without_its_zone_is_refused(server: Running, client: MakeClient) -> None:
    with pytest.raises(ValueError, match="zone"):
        next(iter(client(server.url).follow("developers", since=datetime(2026, 11, 22))))


def test_a_follower_gets_a_gap(serve: Serve, client: MakeClient) -> None:
    server = serve("--max-messages=3")
    one = client(server.url)
    stored = [one.publish("developers", text=str(n)) for n in range(40)]
    gap, message = islice(one.follow("developers", last_event_id=stored[0].id), 2)
    assert isinstance(gap, Gap)
    assert (gap.after, gap.resumes_at, gap.rooms, gap.reason) == (
        stored[0].id,
        message.id,
        ("developers",),
        "trimmed",
    )
    assert gap.lost_at_most == stored.index(message) - 1


def test_rooms_are_followed_and_read_by_prefix(serve: Serve, client: MakeClient) -> None:
    server = serve("--max-messages=3", "--log=memory:")
    one = client(server.url)
    stored = [one.publish(room, text=room) for room in ("b", "a/1", "a/2", "c", "a/1")]
    assert [*islice(one.follow("c", prefixes=["a/"], last_event_id=stored[1].id), 3)] == stored[2:]
    assert list(one.history(prefixes=["a/"], after=stored[2].id).messages) == [stored[4]]
    gap = one.history(prefixes=["a/"], after=stored[0].id).gap
    assert (gap.rooms, gap.prefixes, gap.lost_at_most) == (("a/1",), ("a/",), 1)
    with pytest.raises(ValueError, match="name the rooms"):
        one.history()


def test_history_rooms_and_single_messages_can_be_read(serve: Serve, client: MakeClient) -> None:
    server = serve("--max-messages=10")
    one = client(server.url)
    stored = [one.publish("developers", text=str(n)) for n in range(40)]
    page = one.history("developers", limit=2, after=stored[-4].id)
    assert (list(page.messages), page.position, page.gap) == (stored[-3:-1], stored[-2].id, None)
    assert list(one.history("developers", before=stored[-1].id, limit=1).messages) == [stored[-2]]
    assert one.history("developers", after=stored[0].id).gap.reason == "trimmed"
    assert one.message(stored[-1].id) == stored[-1]
    [room] = one.rooms()
    assert (room.room, room.newest, room.newest_at) == ("developers", stored[-1].id, stored[-1].timestamp)
    with pytest.raises(Gone):
        one.message(stored[0].id)
    with pytest.raises(NotFound):
        one.message("no such/id?")


def test_deleted_messages_and_rooms_are_gone(server: Running, client: MakeClient) -> None:
    one = client(server.url)
    stored = [one.publish(room, text="x") for room in ("a", "a", "of/one?")]
    assert one.delete(stored[0].id) is None
    assert one.history("a").messages == [stored[1]]
    with pytest.raises(Gone):
        one.delete(stored[0].id)
    with pytest.raises(NotFound):
        one.delete("no such/id?")
    assert one.delete_room("of/one?") is None
    assert [room.room for room in one.rooms()] == ["a"]
    with pytest.raises(Invalid, match="room"):
        one.delete_room("$x")


def test_a_delete_whose_answer_was_lost_succeeds_when_the_message_is_gone(
    scripted: ScriptedServer, client: MakeClient
) -> None:
    one = client(scripted.url.removesuffix("/events"))
    deleting = aside(one.delete, "abcd-1")
    asked = scripted.next()
    assert (asked.method, asked.target) == ("DELETE", "/messages/abcd-1")
    asked.cut()
    scripted.next().answer("410 Gone", PROBLEM, body=b'{"title": "Gone", "status": 410}')
    assert deleting.result(PATIENCE) is None


def test_a_revocation_whose_answer_was_lost_is_sent_again(scripted: ScriptedServer, client: MakeClient) -> None:
    one = client(scripted.url.removesuffix("/events"))
    revoking = aside(one.revoke, "42", before=datetime(2026, 11, 22, tzinfo=UTC))
    asked = scripted.next()
    assert (asked.method, asked.target) == ("POST", "/revocations")
    assert json.loads(asked.body) == {"sub": "42", "before": "2026-11-22T00:00:00+00:00"}
    asked.cut()
    scripted.next().answer("204 No Content")
    assert revoking.result(PATIENCE) is None


def test_mistakes_raise_the_servers_errors(server: Running, client: MakeClient) -> None:
    one = client(server.url)
    with pytest.raises(Invalid, match="room") as invalid:
        one.publish("$x", text="x")
    assert [fault.pointer for fault in invalid.value.faults] == ["/room"]
    with pytest.raises(Invalid, match="did you mean room"):
        one.publish_batch([{"rooms": "developers", "text": "x"}])
    with pytest.raises(TooLarge):
        one.publish("developers", text="x" * 100_000)
    with pytest.raises(Invalid, match="cannot be written as JSON"):
        one.publish("developers", data=float("nan"))
    with pytest.raises(Invalid, match="replay"):
        next(iter(one.follow("developers", replay="some")))
    with pytest.raises(ValueError, match="name the rooms"):
        one.history()
    for ask in (one.history, lambda rooms: next(iter(one.follow(rooms)))):
        with pytest.raises(TypeError, match="give each name by itself"):
            ask(["developers", "news"])


def test_the_callers_idempotency_key_stores_once(server: Running, client: MakeClient) -> None:
    one = client(server.url)
    first, second = (one.publish("developers", text="x", idempotency_key="k") for _ in range(2))
    assert first == second
    with pytest.raises(KeyReused):
        one.publish("developers", text="y", idempotency_key="k")
    assert one.publish("developers", text="x").id != one.publish("developers", text="x").id


def test_a_publish_whose_answer_was_lost_is_sent_again_with_the_same_key(
    scripted: ScriptedServer, client: MakeClient
) -> None:
    one = client(scripted.url.removesuffix("/events"))
    stored = {
        "id": "abcd-1",
        "room": "r",
        "user": "anonymous",
        "text": "x",
        "timestamp": "2026-11-22T06:27:00.123Z",
    }
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(one.publish("r", text="x")), daemon=True)
    thread.start()
    asked = [scripted.next()]
    asked[-1].cut()
    for answer in ("502 Bad Gateway", "503 Service Unavailable", "500 Internal Server Error"):
        asked.append(scripted.next())
        asked[-1].answer(answer)
    asked.append(scripted.next())
    asked[-1].answer("201 Created", "Content-Type: application/json", body=json.dumps(stored).encode())
    thread.join(PATIENCE)
    assert [message.id for message in results] == ["abcd-1"]
    assert len({(one.headers["idempotency-key"], one.body) for one in asked}) == 1
    assert len(asked[0].headers["idempotency-key"]) >= 32


def test_a_server_that_is_away_for_too_long_raises_unreachable(
    scripted: ScriptedServer, client: MakeClient
) -> None:
    one = client("http://127.0.0.1:1", patience=0.3)
    began = time.monotonic()
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        one.publish("developers", text="x")
    assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize("status", ["404 Not Found", "307 Temporary Redirect"])
def test_no_error_shows_the_password_of_the_address(
    scripted: ScriptedServer, client: MakeClient, status: str
) -> None:
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1/rooms") as away:
        client("http://user:secret@127.0.0.1:1", patience=0).rooms()
    one = client(scripted.url.removesuffix("/events").replace("://", "://user:secret@"))
    asking = aside(one.rooms)
    asked = scripted.next()
    assert asked.headers["authorization"] == "Basic dXNlcjpzZWNyZXQ="
    asked.answer(status, "Location:")
    with pytest.raises(Refused, match=r"http://127\.0\.0\.1:\d+/rooms answered") as refused:
        asking.result(PATIENCE)
    assert "secret" not in f"{away.value} {refused.value}"


def test_a_retry_after_beyond_the_patience_raises_the_servers_error(
    scripted: ScriptedServer, client: MakeClient
) -> None:
    one = client(scripted.url.removesuffix("/events"), patience=0.5)
    problem = {"type": "urn:problem-type:roomcast:log-unavailable", "detail": "the disk is full", "errors": []}
    errors: list[Any] = []

    def publish() -> None:
        with pytest.raises(LogUnavailable, match="the disk is full") as error:
            one.publish("developers", text="x")
        errors.append(error)

    thread = threading.Thread(target=publish, daemon=True)
    thread.start()
    scripted.next().answer(
        "503 Service Unavailable",
        "Retry-After: 60",
        PROBLEM,
        body=json.dumps(problem).encode(),
    )
    thread.join(PATIENCE)
    assert errors


@pytest.mark.parametrize(
    ("status", "fields", "body"),
    [
        ("404 Not Found", [], b"nothing here"),
        ("200 OK", ["Content-Type: text/html"], b"<html>"),
        (
            "403 Forbidden",
            ["Content-Type: application/problem+json"],
            b'{"type": "about:blank", "detail": "keep out"}',
        ),
        ("403 Forbidden", ["Content-Type: application/problem+json"], b"["),
    ],
)
def test_an_answer_that_is_none_of_roomcasts_raises_refused(
    scripted: ScriptedServer, client: MakeClient, status: str, fields: list[str], body: bytes
) -> None:
    one = client(scripted.url.removesuffix("/events"))
    for call in (lambda: one.rooms(), lambda: next(iter(one.follow("r")))):
        errors: list[Any] = []

        def ask(call: Any = call, errors: list[Any] = errors) -> None:
            with pytest.raises(Refused) as error:
                call()
            errors.append(error.value)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        scripted.next().answer(status, *fields, body=body)
        thread.join(PATIENCE)
        assert errors
        assert "keep out" in str(errors[0]) or b"keep out" not in body


def test_a_follow_survives_a_proxys_answers_while_the_server_restarts(
    scripted: ScriptedServer, client: MakeClient
) -> None:
    one = client(scripted.url.removesuffix("/events"), max_delay=0.01)
    heard: list[Any] = []
    thread = threading.Thread(target=lambda: heard.extend(one.follow("r", replay="none")), daemon=True)
    thread.start()
    for status in ("502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout", "429 Too Many Requests"):
        scripted.next().answer(status)
    scripted.next().begin().end('retry: 1\nid: abcd-0\nevent: live\ndata: {"replayed":0}\n\n', "retry: 2\n")
    asked = scripted.next()
    assert asked.headers["last-event-id"] == "abcd-0"
    assert asked.target == "/messages?room=r&replay=none"
    asked.answer("204 No Content")
    thread.join(PATIENCE)
    assert heard == [Live(0, id="abcd-0")]


def test_events_of_later_versions_are_skipped(scripted: ScriptedServer, client: MakeClient) -> None:
    one = client(scripted.url.removesuffix("/events"))
    heard: list[Any] = []
    thread = threading.Thread(target=lambda: heard.extend(islice(one.follow("r"), 1)), daemon=True)
    thread.start()
    scripted.next().begin().send(
        'id: abcd-1\nevent: roomcast.presence\ndata: {}\n\nid: abcd-1\nevent: live\ndata: {"replayed":0}\n\n'
    )
    thread.join(PATIENCE)
    assert heard == [Live(0, id="abcd-1")]


def test_a_stream_is_dead_after_two_and_a_half_heartbeats(scripted: ScriptedServer, client: MakeClient) -> None:
    pauses: list[Any] = []
    one = client(scripted.url.removesuffix("/events"), heartbeat=0.1, max_delay=0.01)
    thread = threading.Thread(target=lambda: [*one.follow("r", on_pause=pauses.append)], daemon=True)
    thread.start()
    scripted.next().begin().send(":\n")
    scripted.next().answer("204 No Content")
    thread.join(PATIENCE)
    assert isinstance(pauses[0].error, httpx.ReadTimeout)


def test_the_read_timeout_doubles_until_a_heartbeat_comes(
    scripted: ScriptedServer, client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "_HEARTBEAT", 0.1)
    pauses: queue.Queue[Pause] = queue.Queue()
    one = client(scripted.url.removesuffix("/events"), max_delay=0.0)
    following = aside(lambda: [*one.follow("r", on_pause=pauses.put)])
    for seconds in (0.25, 0.5, 1.0):
        asked = scripted.next()
        began = time.monotonic()
        asked.begin()
        assert isinstance(pauses.get(timeout=PATIENCE).error, httpx.ReadTimeout)
        assert time.monotonic() - began >= seconds
    scripted.next().answer("204 No Content")
    assert following.result(PATIENCE) == []


def silent_for(source: StreamState, *, answered: bool = True, heartbeat: bool = False) -> float | None:
    """The read timeout of the next stream after a silent one."""
    if answered:
        source.opened()
        for item in source.feed(b"data: x\n\n" + b":\n" * heartbeat):
            source.take(item)
    source.ended(httpx.ReadTimeout("silence"))
    return source.read_timeout


def test_only_an_open_stream_without_heartbeats_doubles_the_read_timeout() -> None:
    source = StreamState(read_timeout=40.0, learns_heartbeat=True)
    assert silent_for(source, answered=False) == 40
    assert silent_for(source) == 80
    assert silent_for(source, heartbeat=True) == 80
    assert silent_for(source) == 80
    source = StreamState(read_timeout=40.0, learns_heartbeat=True)
    assert [silent_for(source) for _ in range(5)] == [80, 160, 320, 600, 600]
    assert silent_for(StreamState(read_timeout=40.0)) == 40


def test_closing_a_client_ends_its_streams_and_requests(scripted: ScriptedServer, client: MakeClient) -> None:
    one = client(scripted.url.removesuffix("/events"), max_delay=600, patience=600)
    pauses: queue.Queue[Pause] = queue.Queue()

    def follow() -> list[Any]:
        return [*one.follow("r", on_pause=pauses.put)]

    reading, stream = aside(follow), scripted.next().begin()
    waiting, asked = aside(follow), scripted.next()
    pausing = aside(follow)
    scripted.next().begin().end("retry: 600000\n")
    assert pauses.get(timeout=PATIENCE).seconds == 600
    publishing, posted = aside(one.publish, "r", text="x"), scripted.next()
    one.leave()
    assert [following.result(PATIENCE) for following in (reading, waiting, pausing)] == [[], [], []]
    with pytest.raises(RuntimeError, match="closed"):
        publishing.result(PATIENCE)
    for connection in (stream, asked, posted):
        connection.wait_until_the_client_is_gone()
    for call in (one.rooms, lambda: next(iter(one.follow("r")))):
        with pytest.raises(RuntimeError, match="closed"):
            call()


def test_the_client_does_not_read_ahead_of_its_caller(scripted: ScriptedServer, client: MakeClient) -> None:
    """Only one read of the socket is ahead of the caller; the rest waits in the kernel and in the server."""
    one = client(scripted.url.removesuffix("/events"))
    taken: list[Any] = []
    go_on = threading.Event()

    def follow() -> None:
        for message in one.follow("r"):
            taken.append(message)
            go_on.wait(PATIENCE)
            if len(taken) == 2:
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    stream = scripted.next().begin()
    stream.socket.setblocking(False)
    sent = 0
    data = {"id": "abcd-1", "room": "r", "user": "u", "text": "x" * 10_000, "timestamp": "2026-11-22T06:27:00Z"}
    block = f"id: abcd-1\ndata: {json.dumps(data)}\n\n".encode()
    chunk = b"%x\r\n%b\r\n" % (len(block), block)
    quiet_since = time.monotonic()
    while time.monotonic() - quiet_since < 0.5:
        try:
            sent += stream.socket.send(chunk * 100)
            quiet_since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
        assert sent < 50_000_000, "it reads and reads"
    assert len(taken) == 1
    go_on.set()
    thread.join(PATIENCE)


async def test_a_cancelled_task_leaves_no_task_and_no_connection(server: Running) -> None:
    before = asyncio.all_tasks()
    async with AsyncClient(server.url) as client:
        opened = asyncio.Event()

        async def follow() -> None:
            async for _ in client.follow("developers", on_open=lambda _: opened.set()):
                pass

        tasks = [asyncio.create_task(follow()) for _ in range(5)]
        async with asyncio.timeout(PATIENCE):
            await opened.wait()
        await asyncio.to_thread(wait_for, lambda: server.metric("roomcast_followers") == 5, "the followers")
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        assert asyncio.all_tasks() == before
        await asyncio.to_thread(wait_for, lambda: server.metric("roomcast_followers") == 0, "the ends")


async def test_cancelling_works_while_messages_come_fast(server: Running) -> None:
    """Python 3.11 can lose a cancellation that comes together with the awaited result."""
    async with AsyncClient(server.url) as client:
        await client.publish_batch([{"room": "developers", "text": str(n)} for n in range(1000)])

        async def follow() -> None:
            while True:
                async for item in client.follow("developers"):
                    if isinstance(item, Live):
                        break

        for n in range(30):
            task = asyncio.create_task(follow())
            await asyncio.sleep(0.003 * n)
            task.cancel()
            async with asyncio.timeout(PATIENCE):
                assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
        await asyncio.to_thread(wait_for, lambda: server.metric("roomcast_followers") == 0, "the ends")


async def test_leaving_the_loop_ends_the_stream(server: Running) -> None:
    before = asyncio.all_tasks()
    async with asyncio.timeout(2 * PATIENCE), AsyncClient(server.url) as client:
        with Client(server.url) as blocking:
            await client.publish("developers", text="x")
            async for _ in client.follow("developers"):
                break
            for _ in await asyncio.wrap_future(aside(lambda: [*islice(blocking.follow("developers"), 1)])):
                break
            await asyncio.to_thread(wait_for, lambda: server.metric("roomcast_followers") == 0, "the ends")
            assert asyncio.all_tasks() == before


def test_a_client_of_another_event_loop_raises_an_error_that_says_so(server: Running) -> None:
    client = AsyncClient(server.url)

    async def follow() -> None:
        async with client.follow("developers") as stream:
            await anext(stream)

    asyncio.run(follow())
    with pytest.raises(RuntimeError, match="another event loop: make one in each"):
        asyncio.run(follow())


def test_the_option_timeout_is_refused(server: Running, client: MakeClient) -> None:
    with pytest.raises(TypeError, match="use heartbeat and patience"):
        client(server.url, timeout=5)


def test_the_callers_hooks_for_httpx_are_called(server: Running) -> None:
    seen: list[Any] = []
    with Client(server.url, event_hooks={"request": [seen.append], "response": [seen.append]}) as client:
        client.rooms()
    assert [type(one) for one in seen] == [httpx.Request, httpx.Response]


def test_several_threads_use_one_client(server: Running) -> None:
    with Client(server.url) as client:
        publishing = [aside(client.publish, "r", text=str(n)) for n in range(20)]
        for one in publishing:
            one.result(PATIENCE)
        assert {m.text for m in client.history("r").messages} == {str(n) for n in range(20)}


def test_the_client_imports_no_server_and_the_server_no_client() -> None:
    program = "import sys, {}; print([name for name in sys.modules if name in {!r}])"
    server = [
        "roomcast.serve",
        "roomcast.http",
        "roomcast.api",
        "roomcast.delivery",
        "roomcast.log",
        "starlette",
        "uvicorn",
        "apsw",
    ]
    for modules, banned in (
        ("roomcast.client, roomcast.client.sse", server),
        ("roomcast.cli.main, roomcast.serve.run, roomcast.embed", ["httpx", "httpcore", "roomcast.client"]),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program.format(modules, banned)],
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        assert done.stdout == "[]\n"
