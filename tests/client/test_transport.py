"""Both clients over transports of the test's own: errors and moments that no server causes."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import Any

import httpx
import pytest

from roomcast.client import AsyncClient, Client
from roomcast.client.awaiting.driver import AsyncDriver
from roomcast.client.awaiting.http import AsyncHttp
from roomcast.client.blocking.driver import Driver
from roomcast.client.blocking.http import Http
from roomcast.client.http import HttpOptions, OutgoingRequest, for_transport
from roomcast.client.sse import Pause, aconnect, connect
from roomcast.client.stream_state import StreamState
from tests.client.conftest import Listen, MakeClient
from tests.client.scripted import END, ScriptedServer, aside
from tests.running import PATIENCE
from tests.silent import leaves, silent

URL = "http://host"
REQUEST = OutgoingRequest("GET", URL)
MESSAGE = b'id: k-7\ndata: {"id":"k-7","room":"r","user":"u","timestamp":"2026-11-22T06:27:00Z","text":"x"}\n\n'


def stream(body: bytes) -> Callable[[httpx.Request], httpx.Response]:
    """Answers the first request with an event stream, and further ones with 204."""
    bodies = iter([body])

    def answer(request: httpx.Request) -> httpx.Response:
        if (content := next(bodies, None)) is None:
            return httpx.Response(204)
        return httpx.Response(
            200,
            headers={"content-type": "text/event-stream"},
            content=content,
            extensions={"network_stream": None},
        )

    return answer


def test_a_protocol_that_httpx_does_not_know_ends_a_stream_at_once(listen: Listen) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.UnsupportedProtocol("gopher")

    assert isinstance(listen(URL, transport=httpx.MockTransport(refuse)).next_of_all(), httpx.UnsupportedProtocol)


def test_a_wrong_address_of_a_proxy_that_a_function_returns_ends_a_stream_at_once(listen: Listen) -> None:
    error = listen(URL, proxy=lambda: "http://me:secret@localhost:99999").next_of_all()
    assert isinstance(error, ValueError)
    assert "'http://localhost:99999' is not the address of a proxy" in str(error)


def test_a_page_of_rooms_that_leads_to_itself_is_the_last_one(client: MakeClient) -> None:
    row = {"room": "r", "messages": 1, "newest": None, "newest_at": None, "followers": 0}
    link = {"Link": '</rooms?after=r>; rel="next"'}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"rooms": [row]}, headers=link))
    assert len(client(URL, transport=transport, max_answer=10_000).rooms()) == 2


FOLLOWER = {
    "worker": 1,
    "since": "2026-11-22T06:27:00Z",
    "rooms": ["r"],
    "prefixes": [],
    "position": "k-7",
    "behind": 0,
    "waiting": 0,
    "address": "127.0.0.1",
    "principal": "",
    "user_agent": "",
}


def followers_of(asked: list[str], *, last: int) -> Callable[[httpx.Request], httpx.Response]:
    """A server whose pages name one follower each; the page after `last` leads to itself."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.query.decode())
        number = min(len(asked), last)
        page = {"followers": [{**FOLLOWER, "number": number}], "missing": [3] if number == 1 else [2, 3]}
        return httpx.Response(200, json=page, headers={"Link": f'</followers?after={number}>; rel="next"'})

    return answer


def test_pages_of_followers_are_read_to_the_last_one(client: MakeClient) -> None:
    asked: list[str] = []
    one = client(URL, transport=httpx.MockTransport(followers_of(asked, last=2)))
    found = one.followers(behind=5)
    assert [row.number for row in found.followers] == [1, 2, 2]
    assert found.missing == [2, 3]
    assert asked == ["limit=1000&behind=5", "after=1", "after=2"]


def test_the_pages_of_followers_have_one_bound_together(client: MakeClient) -> None:
    asked: list[str] = []
    transport = httpx.MockTransport(followers_of(asked, last=10**9))
    with pytest.raises(Exception, match="max_answer"):
        client(URL, transport=transport, max_answer=1_000).followers()
    assert 1 < len(asked) < 10


def test_a_follower_says_where_to_resume() -> None:
    with Client(URL, transport=httpx.MockTransport(stream(MESSAGE))) as one:
        follower = one.follow("r")
        assert next(follower).id == follower.last_event_id == "k-7"
    with connect(URL, transport=httpx.MockTransport(stream(MESSAGE))) as source:
        assert next(source).id == source.last_event_id == "k-7"


async def test_an_asynchronous_follower_says_where_to_resume() -> None:
    async with AsyncClient(URL, transport=httpx.MockTransport(stream(MESSAGE))) as one:
        follower = one.follow("r")
        assert (await anext(follower)).id == follower.last_event_id == "k-7"
    async with aconnect(URL, transport=httpx.MockTransport(stream(MESSAGE))) as source:
        assert (await anext(source)).id == source.last_event_id == "k-7"


def test_a_second_thread_cannot_iterate_a_source_and_ends_when_it_is_closed() -> None:
    entered, leave = threading.Event(), threading.Event()

    def wait(request: httpx.Request) -> httpx.Response:
        entered.set()
        leave.wait(PATIENCE)
        return httpx.Response(204)

    with connect(URL, transport=httpx.MockTransport(wait)) as source:
        thread = threading.Thread(target=lambda: [*source], daemon=True)
        thread.start()
        assert entered.wait(PATIENCE)
        with pytest.raises(ValueError, match="already executing"):
            next(source)
        source.close()
        assert next(source, END) is END
        leave.set()
        thread.join(PATIENCE)


async def test_a_second_task_cannot_iterate_a_source_and_ends_when_it_is_closed() -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def wait(request: httpx.Request) -> httpx.Response:
        entered.set()
        await leave.wait()
        return httpx.Response(204)

    async with aconnect(URL, transport=httpx.MockTransport(wait)) as source:
        first = asyncio.ensure_future(anext(source, END))
        await entered.wait()
        with pytest.raises(RuntimeError, match="already running"):
            await anext(source)
        await source.aclose()
        assert await anext(source, END) is END
        leave.set()
        assert await first is END


class Network:
    """httpcore's object for a connection."""

    def __init__(self, ours: socket.socket) -> None:
        self._socket = ours

    def get_extra_info(self, name: str) -> socket.socket:
        return self._socket

    async def aclose(self) -> None:
        self._socket.close()


@pytest.fixture
def pair() -> Any:
    """Both ends of a connection."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    yield ours, theirs
    ours.close()
    theirs.close()


class WatchedLock:
    """The lock of `http`, which notes when a thread has to wait for it."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._lock = threading.Lock()
        self._settled = threading.Event()

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._settled.set()
            self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def meanwhile(self, call: Callable[[Http], Any]) -> Future[Any]:
        """Runs `call` in another thread, and returns when that has ended or waits for the lock."""
        result = aside(call, self._http)
        result.add_done_callback(lambda result: self._settled.set())
        assert self._settled.wait(PATIENCE)
        return result


@pytest.fixture
def http_and_lock(monkeypatch: pytest.MonkeyPatch) -> tuple[Http, WatchedLock]:
    http = Http(HttpOptions())
    lock = WatchedLock(http)
    monkeypatch.setattr(http, "_lock", lock)
    return http, lock


def test_a_stream_that_begins_while_another_thread_closes_the_client_finds_it_closed(
    http_and_lock: tuple[Http, WatchedLock],
) -> None:
    http, lock = http_and_lock
    begun: list[Future[bool]] = []

    def begin(http: Http) -> bool:
        Driver(http, REQUEST, StreamState())
        return http._closing.is_set()

    class First:
        """A stream. While it is ended, another one begins."""

        def __setattr__(self, name: str, value: object) -> None:
            begun.append(lock.meanwhile(begin))

        def hang_up(self) -> None: ...

    first: Any = First()
    http.register(first)
    http.close()
    assert [one.result(PATIENCE) for one in begun] == [True]


def test_two_threads_may_close_a_client(
    http_and_lock: tuple[Http, WatchedLock], monkeypatch: pytest.MonkeyPatch
) -> None:
    http, lock = http_and_lock
    closed: list[Future[None]] = []

    class Clients(dict[Any, httpx.Client]):
        """While one thread looks if a client is left, another one closes them all."""

        def __len__(self) -> int:
            left = super().__len__()
            if not closed:
                closed.append(Future())
                closed.append(lock.meanwhile(Http.close))
            return left

    monkeypatch.setattr(http, "_clients", Clients({(None, False): httpx.Client()}))
    http.close()
    closed[1].result(PATIENCE)
    assert not http._clients


def test_a_connection_that_is_made_while_the_client_is_closed_is_hung_up(pair: Any) -> None:
    ours, theirs = pair
    http = Http(HttpOptions())
    http.close()
    http._connected(Network(ours), None)
    assert theirs.recv(1) == b""


async def test_a_connection_that_is_made_while_the_async_client_is_closed_is_hung_up(pair: Any) -> None:
    ours, theirs = pair
    http = AsyncHttp(HttpOptions())
    await http.aclose()
    await http._connected(Network(ours), None)
    assert theirs.recv(1) == b""


def test_a_connection_that_is_made_while_the_stream_is_closed_is_hung_up(pair: Any) -> None:
    ours, theirs = pair
    driver = Driver(Http(HttpOptions()), REQUEST, StreamState())
    driver.closed = True
    driver._connected(Network(ours))
    assert theirs.recv(1) == b""


async def test_a_connection_that_is_made_while_the_async_stream_is_closed_is_hung_up(pair: Any) -> None:
    ours, theirs = pair
    driver = AsyncDriver(AsyncHttp(HttpOptions()), REQUEST, StreamState())
    driver.closed = True
    await driver._connected(Network(ours))
    assert theirs.recv(1) == b""


def test_a_stream_whose_client_is_closed_while_it_connects_ends_without_an_error() -> None:
    def close(request: httpx.Request) -> httpx.Response:
        one.close()
        raise RuntimeError("httpx's own, of a closed client")

    one = Client(URL, transport=httpx.MockTransport(close))
    assert [*one.follow("r")] == []


async def test_an_async_stream_whose_client_is_closed_while_it_connects_ends_without_an_error() -> None:
    async def close(request: httpx.Request) -> httpx.Response:
        await one.aclose()
        raise RuntimeError("httpx's own, of a closed client")

    one = AsyncClient(URL, transport=httpx.MockTransport(close))
    assert [item async for item in one.follow("r")] == []


def test_a_request_whose_client_is_closed_meanwhile_says_so_and_other_mistakes_stay_what_they_are() -> None:
    def close(request: httpx.Request) -> httpx.Response:
        one.close()
        raise RuntimeError("httpx's own, of a closed client")

    def fail(request: httpx.Request) -> httpx.Response:
        raise RuntimeError("a mistake in a transport")

    one = Client(URL, transport=httpx.MockTransport(close))
    with pytest.raises(RuntimeError, match="the client is closed: make a new one"):
        one.rooms()
    with (
        Client(URL, transport=httpx.MockTransport(fail)) as other,
        pytest.raises(RuntimeError, match="a mistake in a transport"),
    ):
        other.rooms()


async def test_an_async_request_whose_client_is_closed_meanwhile_says_so_and_other_mistakes_stay() -> None:
    async def close(request: httpx.Request) -> httpx.Response:
        await one.aclose()
        raise RuntimeError("httpx's own, of a closed client")

    async def fail(request: httpx.Request) -> httpx.Response:
        raise RuntimeError("a mistake in a transport")

    one = AsyncClient(URL, transport=httpx.MockTransport(close))
    with pytest.raises(RuntimeError, match="the client is closed: make a new one"):
        await one.rooms()
    async with AsyncClient(URL, transport=httpx.MockTransport(fail)) as other:
        with pytest.raises(RuntimeError, match="a mistake in a transport"):
            await other.rooms()


class Silent(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a stream that sends nothing until the client gives up."""

    def __iter__(self) -> Iterator[bytes]:
        raise httpx.ReadTimeout("silence")
        yield b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        raise httpx.ReadTimeout("silence")
        yield b""


@pytest.mark.parametrize(("heartbeat", "timeouts"), [(None, [37.5, 75.0, 150.0]), (1.0, [2.5, 2.5, 2.5])])
def test_the_read_timeout_doubles_only_while_the_heartbeat_is_unknown(
    client: MakeClient, heartbeat: float | None, timeouts: list[float]
) -> None:
    asked: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.extensions["timeout"]["read"])
        if len(asked) == len(timeouts):
            return httpx.Response(204)
        return opened(Silent())

    one = client(URL, transport=httpx.MockTransport(answer), heartbeat=heartbeat, max_delay=0.0)
    assert [*one.follow("r")] == []
    assert asked == timeouts


def opened(stream: httpx.SyncByteStream | httpx.AsyncByteStream, network: object = None) -> httpx.Response:
    """An event stream with this body."""
    headers = {"content-type": "text/event-stream"}
    return httpx.Response(200, headers=headers, stream=stream, extensions={"network_stream": network})


class Open(httpx.SyncByteStream, httpx.AsyncByteStream):
    """The body of a stream that is open until its connection, which this is too, is hung up."""

    def __init__(self) -> None:
        self.read, self.hung_up = threading.Event(), threading.Event()
        self.async_read, self.async_hung_up = asyncio.Event(), asyncio.Event()

    def get_extra_info(self, name: str) -> object:
        self.hung_up.set()
        raise OSError

    async def aclose(self) -> None:
        self.async_hung_up.set()

    def __iter__(self) -> Iterator[bytes]:
        self.read.set()
        self.hung_up.wait(PATIENCE)
        raise httpx.ReadError("hung up")
        yield b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.async_read.set()
        await asyncio.wait_for(self.async_hung_up.wait(), PATIENCE)
        raise httpx.ReadError("hung up")
        yield b""


def no_pause(pause: Pause) -> None:
    raise AssertionError(pause)


def test_a_restart_hangs_up_the_open_connection_and_connects_at_once() -> None:
    body = Open()
    answers = iter([opened(body, body), httpx.Response(204)])
    transport = httpx.MockTransport(lambda request: next(answers))
    with connect(URL, transport=transport, on_pause=no_pause) as source:
        reading = aside(next, source, END)
        assert body.read.wait(PATIENCE)
        source.restart()
        assert reading.result(PATIENCE) is END


async def test_an_async_restart_hangs_up_the_open_connection_and_connects_at_once() -> None:
    body = Open()
    answers = iter([opened(body, body), httpx.Response(204)])
    transport = httpx.MockTransport(lambda request: next(answers))
    async with aconnect(URL, transport=transport, on_pause=no_pause) as source:
        reading = asyncio.ensure_future(anext(source, END))
        await body.async_read.wait()
        await source.restart()
        assert await reading is END


async def test_a_restart_shortens_no_later_pause() -> None:
    body, paused = Open(), asyncio.Event()
    answers = [opened(body, body), opened(httpx.ByteStream(b"retry: 600000\n"))]

    def pause(pause: Pause) -> None:
        assert pause.seconds == 600
        paused.set()

    transport = httpx.MockTransport(lambda request: answers.pop(0))
    async with aconnect(URL, transport=transport, on_pause=pause) as source:
        reading = asyncio.ensure_future(anext(source, END))
        await body.async_read.wait()
        await source.restart()
        await paused.wait()
        for _ in range(100):  # turns of the loop, far more than a request over this transport needs
            await asyncio.sleep(0)
        assert not reading.done()
        await source.aclose()
        assert await reading is END


def test_a_restart_in_a_pause_leaves_the_ended_connection_alone() -> None:
    """A transport of the caller may have given it to another request."""
    network = Open()
    answers = iter([opened(httpx.ByteStream(b""), network), httpx.Response(204)])

    def restart(pause: Pause) -> None:
        source.restart()

    source = connect(URL, transport=httpx.MockTransport(lambda request: next(answers)), on_pause=restart)
    with source:
        assert next(source, END) is END
    assert not network.hung_up.is_set()


async def test_an_async_restart_in_a_pause_leaves_the_ended_connection_alone() -> None:
    network = Open()
    answers = iter([opened(httpx.ByteStream(b""), network), httpx.Response(204)])
    restarts: list[asyncio.Future[None]] = []

    def restart(pause: Pause) -> None:
        restarts.append(asyncio.ensure_future(source.restart()))

    source = aconnect(URL, transport=httpx.MockTransport(lambda request: next(answers)), on_pause=restart)
    async with source:
        assert await anext(source, END) is END
        await asyncio.gather(*restarts)
    assert not network.async_hung_up.is_set()


async def test_a_request_that_is_cancelled_during_its_handshake_closes_its_connection() -> None:
    async with silent() as server, AsyncClient(server.url) as client:
        await leaves(server, client.rooms())


class Loaded(Exception):
    """The certificates of all authorities were to be loaded."""


def test_certificates_are_loaded_for_https_only(
    client: MakeClient, scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading them takes 50 ms, which is half of what `roomcast publish` takes."""

    def load(**_: object) -> None:
        raise Loaded

    monkeypatch.setattr(ssl, "create_default_context", load)
    one = client(scripted.url.removesuffix("/events"))
    calling = aside(one.rooms)
    scripted.next().answer("200 OK", body=b'{"rooms":[]}')
    assert calling.result(PATIENCE) == []
    calling = aside(one.rooms)
    scripted.next().answer("307 Temporary Redirect", "Location: https://127.0.0.1:9/rooms")
    with pytest.raises(Loaded):
        calling.result(PATIENCE)


def test_plain_http_trusts_no_certificate() -> None:
    context = for_transport({"verify": True}, tls=False)["verify"]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.get_ca_certs() == []
    assert for_transport({"verify": True}, tls=True) == {"verify": True}
