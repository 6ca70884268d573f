"""roomcast in someone else's program: the examples under uvicorn with real signals, and `Embedded` by itself."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

import roomcast
from roomcast.embed import Embedded
from roomcast.model.errors import Invalid, LogUnavailable, LogUnusable
from tests.observer import Observer
from tests.running import PATIENCE, Running, start_uvicorn, wait_for

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAMS = ["fastapi", "starlette", "django"]
TARGET = "/live/messages?room=orders"


def run(folder: Path, name: str) -> Running:
    """As the example's docstring says."""
    program = EXAMPLES / f"{name}_app.py"
    [options] = re.findall(rf"uvicorn (.+) {program.stem}:app$", program.read_text(), re.MULTILINE)
    return start_uvicorn(
        folder, f"{program.stem}:app", *options.replace("examples", str(EXAMPLES)).split(), "--http=h11"
    )


@pytest.fixture(params=PROGRAMS, scope="module")
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = run(tmp_path_factory.mktemp(request.param), request.param)
    yield running
    running.end()


def test_the_docs_show_the_code_of_the_examples() -> None:
    shown = re.findall(r"^```python\n(.*?)^```$", (EXAMPLES.parent / "docs/embedding.md").read_text(), re.M | re.S)
    examples = [example.read_text() for example in EXAMPLES.glob("*.py")]
    assert len(shown) == 4
    assert [block for block in shown if not any(block in example for example in examples)] == []


def post(running: Running, path: str, text: str = "x") -> httpx.Response:
    return httpx.post(running.url + path, json={"room": "orders", "text": text}, timeout=PATIENCE, verify=False)


def test_a_message_published_by_the_programs_own_route_reaches_a_follower(program: Running) -> None:
    with Observer(program.port, TARGET) as follower:
        follower.until_live()
        stored = post(program, "/orders/7/paid").json()
        assert stored["text"] == "order 7 is paid"
        assert follower.next().json == stored


def test_a_django_view_without_async_publishes_too(tmp_path: Path) -> None:
    running = run(tmp_path, "django")
    try:
        with Observer(running.port, TARGET) as follower:
            follower.until_live()
            stored = post(running, "/orders/7/sent").json()
            assert follower.next().json == stored
    finally:
        running.end()


def test_addresses_carry_the_prefix_and_the_page_is_below_it(program: Running) -> None:
    answer = post(program, "/live/messages")
    assert answer.headers["location"] == f"/live/messages/{answer.json()['id']}"
    assert program.get(answer.headers["location"]).json() == answer.json()
    page = program.get(f"{TARGET}&limit=1", headers={"accept": "application/json"})
    assert set(re.findall("<([^?]+)", page.headers["link"])) == {"/live/messages"}
    assert program.get("/live/openapi.json").json()["servers"] == [{"url": "/live"}]
    html = program.get("/live/?room=orders").text
    for address in re.findall(r'(?:href|src)="([^"]+)"', html):
        assert program.get(f"/live/{address}").status_code == 200, address


def test_sigterm_sends_every_follower_away_and_loses_nothing(program: Running) -> None:
    """The last one with this program: it ends, and is started again on its log."""
    followers = [Observer(program.port, TARGET) for _ in range(10)]
    for follower in followers:
        follower.until_live()
    acknowledged: list[str] = []
    enough = threading.Event()

    def publish() -> None:
        try:
            while post(program, "/live/messages", str(len(acknowledged))).status_code == 201:
                acknowledged.append(str(len(acknowledged)))
                if len(acknowledged) == 20:
                    enough.set()
        except httpx.TransportError:
            pass  # the listener is closed

    publisher = threading.Thread(target=publish)
    publisher.start()
    assert enough.wait(PATIENCE)
    program.process.send_signal(signal.SIGTERM)
    seen = [[event.json["text"] for event in follower] for follower in followers]
    assert program.process.wait(10) == -signal.SIGTERM  # as uvicorn does: it raises the signal again at the end
    publisher.join()
    for follower in followers:
        follower.cut()
        assert follower.clean_end
        assert follower.leftover == [f"retry: {follower.retry}"]
        assert 2_000 <= (follower.retry or 0) <= 10_000
    assert len({follower.retry for follower in followers}) > 1
    assert "Traceback" not in program.said()

    again = run(program.folder, next(name for name in PROGRAMS if name in program.folder.name))
    try:
        for texts, before in zip(seen, followers, strict=True):
            with Observer(again.port, TARGET, headers={"Last-Event-ID": before.last_id}) as after:
                texts += [event.json["text"] for event in after.until_live()[:-1]]
            # One may have been stored whose answer the end cut off.
            assert texts[: len(acknowledged)] == acknowledged
            assert len(texts) <= len(acknowledged) + 1
    finally:
        again.end()


def test_a_client_that_takes_nothing_does_not_hold_up_the_end_for_ever(tmp_path: Path) -> None:
    running = run(tmp_path, "starlette")
    try:
        with Observer(running.port, TARGET, receive_buffer=4096), Observer(running.port, TARGET) as follower:
            for _ in range(10):
                assert post(running, "/live/messages", "x" * 60_000).status_code == 201
            body = [{"room": "orders", "text": "x" * 60_000}] * 15
            for _ in range(4):
                assert httpx.post(f"{running.url}/live/messages", json=body).status_code == 201
            running.process.send_signal(signal.SIGTERM)
            assert sum(event.name == "message" for event in follower) <= 70
            assert follower.clean_end
            assert running.process.wait(10) == -signal.SIGTERM
    finally:
        running.end()


def test_behind_a_middleware_that_wraps_everything_followers_come_and_go(tmp_path: Path) -> None:
    """Starlette's BaseHTTPMiddleware, under uvicorn.run: the program is imported before uvicorn takes signals."""
    (tmp_path / "wrapped.py").write_text(
        "import asyncio, uvicorn\n"
        "from starlette.applications import Starlette\n"
        "from starlette.middleware import Middleware\n"
        "from starlette.middleware.base import BaseHTTPMiddleware\n"
        "from starlette.responses import JSONResponse\n"
        "from starlette.routing import Mount, Route\n"
        "import roomcast\n"
        "live = roomcast.app(log='memory:')\n"
        "live.drain_on_signal()\n"
        "async def tasks(request):\n"
        "    return JSONResponse(len(asyncio.all_tasks()))\n"
        "async def through(request, call_next):\n"
        "    return await call_next(request)\n"
        "app = Starlette(routes=[Route('/tasks', tasks), Mount('/live', live)],\n"
        "    middleware=[Middleware(BaseHTTPMiddleware, dispatch=through)])\n"
        "uvicorn.run(app, port=0, http='h11')\n"
    )
    running = Running([sys.executable, "wrapped.py"], tmp_path)
    try:
        running.port = int(running.wait_until_it_says(r"running on http://\S+?:(\d+)")[1])
        with Observer(running.port, TARGET) as last:
            last.until_live()
            with_one = running.get("/tasks").json()
            for _ in range(5):
                with Observer(running.port, TARGET) as follower:
                    follower.until_live()
            wait_for(lambda: running.get("/tasks").json() == with_one, "the tasks of those who left to end")
            assert running.terminate() == -signal.SIGTERM
            assert last.next_or_end() is None
            assert last.clean_end
    finally:
        running.end()


# `Embedded` by itself, called as a host calls it.


class Call:
    """A host's request to an ASGI application, and the client behind it."""

    def __init__(self, app: Embedded, target: str = "/messages?room=orders", **scope: Any) -> None:
        path, _, query = target.partition("?")
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [],
            **scope,
        }
        self.body = b""
        self.ended = False
        """Whether the host heard the end of the body."""
        self.gone = asyncio.Event()
        self.stuck = asyncio.Event()
        self.send_error: Exception | None = None
        self._asked = False
        self._changed = asyncio.Event()
        self.task = asyncio.create_task(app(self.scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if self.send_error:
            raise self.send_error
        if self.stuck.is_set():
            await asyncio.Event().wait()
        self.body += message.get("body", b"")
        self.ended = message["type"] == "http.response.body" and not message.get("more_body")
        self._changed.set()

    async def until(self, state: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not state():
                self._changed.clear()
                await self._changed.wait()

    async def live(self) -> Call:
        await self.until(lambda: b"event: live" in self.body)
        return self


@pytest.fixture
async def live() -> AsyncIterator[Embedded]:
    async with roomcast.app(log="memory:") as live:
        yield live


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """No task outlives the block."""
    before = asyncio.all_tasks()
    yield
    assert asyncio.all_tasks() == before


async def followers(live: Embedded) -> float:
    call = Call(live, "/metrics")
    await call.task
    return float(re.findall(rb"^roomcast_followers (\S+)", call.body, re.MULTILINE)[0])


async def test_a_client_that_leaves_leaves_nothing_behind(live: Embedded) -> None:
    async with nothing_left():
        call = await Call(live).live()
        call.gone.set()
        await call.task
    assert await followers(live) == 0


async def test_a_host_that_raises_in_send_is_taken_for_a_client_that_left(live: Embedded) -> None:
    async with nothing_left():
        call = await Call(live).live()
        call.send_error = OSError("the client is gone")
        await live.publish("orders", text="one")
        await call.task
    assert await followers(live) == 0


async def test_a_stream_that_the_host_cancels_ends(live: Embedded) -> None:
    async with nothing_left():
        call = await Call(live).live()
        call.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call.task
    assert await followers(live) == 0


async def test_a_stuck_client_holds_little_memory_and_no_one_up(
    live: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roomcast.embed.DRAIN_SECONDS", 0.01)
    async with nothing_left():
        stuck, other = await Call(live).live(), await Call(live).live()
        stuck.stuck.set()
        text = "x" * 10_000
        for number in range(1, 201):
            await live.publish("orders", text=text)
            await other.until(lambda n=number: other.body.count(text.encode()) == n)  # type: ignore[misc]
        metrics = Call(live, "/metrics")
        await metrics.task
        assert b"roomcast_followers_behind 1.0" in metrics.body
        await live.drain()
        await stuck.task
        await other.task
        assert other.ended
        assert not stuck.ended


async def test_a_slow_client_gets_everything_in_order(live: Embedded) -> None:
    call = await Call(live).live()
    text = "x" * 10_000
    for number in range(100):
        await live.publish("orders", text=f"{number} {text}")
    await call.until(lambda: b'"99 x' in call.body)
    assert [int(n) for n in re.findall(rb'"text":"(\d+) ', call.body)] == list(range(100))
    call.task.cancel()


async def test_a_stream_that_begins_while_draining_ends_at_once(live: Embedded) -> None:
    await live.drain()
    call = Call(live)
    await call.task
    assert re.fullmatch(rb"retry: \d{4,5}\n", call.body)


async def test_the_first_publish_opens_the_server_once() -> None:
    live = roomcast.app(log="memory:")
    stored = await asyncio.gather(*(live.publish("orders", text=str(n)) for n in range(5)))
    assert sorted(int(message["id"].rpartition("-")[2]) for message in stored) == [1, 2, 3, 4, 5]
    async with live:
        pass


async def test_the_first_user_may_be_cancelled_while_it_opens() -> None:
    live = roomcast.app(log="memory:")
    first = asyncio.create_task(live.publish("orders", text="one"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await live.publish("orders", text="two"))["id"].endswith("-1")
    async with live:
        pass


async def test_opening_is_tried_again_after_it_failed(tmp_path: Path) -> None:
    live = roomcast.app(log=f"sqlite:{tmp_path}/later/x.db")
    with pytest.raises(LogUnusable):
        await live.publish("orders", text="one")
    (tmp_path / "later").mkdir()
    async with live:
        assert (await live.publish("orders", text="two"))["text"] == "two"


async def test_a_lifespan_that_cannot_open_says_why() -> None:
    said = await lifespan(roomcast.app(log="nowhere:"))
    assert [message["type"] for message in said] == ["lifespan.startup.failed"]
    assert "sqlite:PATH" in said[0]["message"]


async def test_a_server_that_is_the_whole_application_opens_and_closes_with_its_lifespan() -> None:
    live = roomcast.app(log="memory:")
    async with nothing_left():
        said = await lifespan(live)
    assert [message["type"] for message in said] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    with pytest.raises(LogUnavailable):
        await live.publish("orders", text="late")


async def lifespan(live: Embedded) -> list[Any]:
    asked: asyncio.Queue[Any] = asyncio.Queue()
    said: list[Any] = []
    asked.put_nowait({"type": "lifespan.startup"})
    asked.put_nowait({"type": "lifespan.shutdown"})

    async def send(message: Any) -> None:
        said.append(message)

    await live({"type": "lifespan"}, asked.get, send)
    return said


async def test_a_closed_server_stores_nothing_and_sends_followers_away_until_it_is_entered_again() -> None:
    live = roomcast.app(log="memory:")
    async with live:
        call = await Call(live).live()
    await call.task
    assert call.body.endswith(b"\n")
    assert call.ended
    with pytest.raises(LogUnavailable):
        await live.publish("orders", text="late")
    late = Call(live)
    await late.task
    assert late.body.startswith(b"retry: ")
    async with live:
        assert (await live.publish("orders", text="again"))["id"].endswith("-1")


def test_another_event_loop_is_told_so_and_may_enter_once_it_is_closed() -> None:
    live = roomcast.app(log="memory:")

    async def use() -> None:
        async with live:
            await live.publish("orders", text="one")
            with pytest.raises(RuntimeError, match="another event loop"):
                await asyncio.to_thread(asyncio.run, live.publish("orders", text="two"))
            loop = asyncio.get_running_loop()
            from_a_thread = asyncio.run_coroutine_threadsafe
            stored = await asyncio.to_thread(
                lambda: from_a_thread(live.publish("orders", text="two"), loop).result()
            )
            assert stored["id"].endswith("-2")

    asyncio.run(use())
    asyncio.run(use())


async def test_two_servers_in_one_program_keep_apart() -> None:
    async with roomcast.app(log="memory:") as one, roomcast.app(log="memory:") as other:
        follower, stranger = await Call(one).live(), await Call(other).live()
        await one.publish("orders", text="one")
        await follower.until(lambda: b'"one"' in follower.body)
        await one.drain()
        await follower.task
        assert not stranger.task.done()
        assert b'"one"' not in stranger.body
    await stranger.task


@pytest.mark.parametrize("key", ["", "two words", "é", "x" * 129])
async def test_a_bad_idempotency_key_is_refused_as_over_http(live: Embedded, key: str) -> None:
    with pytest.raises(Invalid):
        await live.publish("orders", text="one", idempotency_key=key)


@pytest.mark.parametrize(
    "fields", [{"data": float("nan")}, {"data": {"x": float("inf")}}, {"data": object()}, {"text": "\ud800"}]
)
async def test_data_that_json_cannot_express_is_refused_and_not_changed(
    live: Embedded, fields: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        await live.publish("a", **fields)
    assert (await live.publish("a", data={"büro": [1.5, None]}))["data"] == {"büro": [1.5, None]}


async def test_the_same_call_with_the_same_key_is_stored_once(live: Embedded) -> None:
    once = await live.publish("orders", text="one", idempotency_key="k")
    assert await live.publish("orders", text="one", idempotency_key="k") == once


async def test_a_mount_with_letters_beyond_ascii_is_quoted(live: Embedded) -> None:
    call = Call(live, "/café/openapi.json", root_path="/café")
    await call.task
    assert json.loads(call.body)["servers"] == [{"url": "/caf%C3%A9"}]


# Signals. SIGUSR1 stands for those that end a program.


@pytest.fixture
def signalled() -> Iterator[list[int]]:
    """The numbers that the host's own handler was called with."""
    calls: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: calls.append(number))
    yield calls
    signal.signal(signal.SIGUSR1, before)


Entered = Callable[[], Awaitable[None]]


@pytest.mark.parametrize("when", ["before", "after", "twice", "before and after"])
async def test_a_signal_drains_and_is_then_passed_to_the_host(signalled: list[int], when: str) -> None:
    live = roomcast.app(log="memory:")
    hosts = signal.getsignal(signal.SIGUSR1)
    for _ in range(2 if when == "twice" else "before" in when):
        live.drain_on_signal([signal.SIGUSR1])
    async with live:
        if "after" in when:
            live.drain_on_signal([signal.SIGUSR1])
        call = await Call(live).live()
        signal.raise_signal(signal.SIGUSR1)
        await call.task
        assert call.ended
        assert signalled == [signal.SIGUSR1]
        signal.raise_signal(signal.SIGUSR1)
    assert signalled == [signal.SIGUSR1] * 2
    assert signal.getsignal(signal.SIGUSR1) is hosts


async def test_one_signal_drains_all_servers_of_a_program(signalled: list[int]) -> None:
    lives = [roomcast.app(log="memory:"), roomcast.app(log="memory:")]
    for live in lives:
        live.drain_on_signal([signal.SIGUSR1])
    async with lives[0], lives[1]:
        calls = [await Call(live).live() for live in lives]
        signal.raise_signal(signal.SIGUSR1)
        await asyncio.gather(*(call.task for call in calls))
        assert signalled == [signal.SIGUSR1]


async def test_a_signal_that_the_program_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    live = roomcast.app(log="memory:")
    live.drain_on_signal([signal.SIGUSR1])
    async with live:
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
    signal.signal(signal.SIGUSR1, before)


def test_outside_the_main_thread_a_warning_says_that_signals_are_not_seen(
    signalled: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    hosts = signal.getsignal(signal.SIGUSR1)

    async def use() -> None:
        live = roomcast.app(log="memory:")
        live.drain_on_signal([signal.SIGUSR1])
        async with live:
            pass

    thread = threading.Thread(target=asyncio.run, args=(use(),))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGUSR1) is hosts
    assert "main thread" in caplog.text
