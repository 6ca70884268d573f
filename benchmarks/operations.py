"""The hot path in small steps, each by itself: what `benchmarks.micro` times and `benchmarks.instructions` counts.

A name begins with what pays for the step: each message (once, however many follow), each publish, each request,
each delivery (one write to one follower), each replayed message, or each follow.

Laws:
- A call leaves things as it found them: what it stores is trimmed, what it writes is read. So the thousandth call
  does the same work as the tenth.
- Nothing here waits: no timers, and threads only where `counted` is 0.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import count, cycle, islice, repeat
from typing import Any, NamedTuple, cast

from roomcast.api.query import After, parse_query, preferred_format
from roomcast.auth.guard import NO_GUARD, Guard, Mode
from roomcast.auth.keys import Keys, grantor_of, sha256
from roomcast.auth.rights import ConfiguredRights
from roomcast.auth.secrets import Secrets
from roomcast.auth.tickets import seal
from roomcast.delivery.budget import Budget
from roomcast.delivery.engine import Engine
from roomcast.delivery.hub import Hub
from roomcast.delivery.wire import WIRES, Wire
from roomcast.http import access
from roomcast.http.connection import SocketConnection
from roomcast.http.context import Context
from roomcast.http.fast_path import FastPath
from roomcast.http.handler import Handler
from roomcast.log.append_queue import AppendRequest
from roomcast.log.memory import MemoryLog
from roomcast.log.sqlite.log import open_log
from roomcast.log.sqlite.opening import open_database
from roomcast.log.sqlite.writer import SqliteWriter
from roomcast.log.trimming import EMPTY_ROOMS
from roomcast.model.draft import parse_json
from roomcast.model.message import Draft, Message
from roomcast.model.retention import Retention
from roomcast.model.rooms import Selection
from roomcast.model.settings import Settings
from roomcast.model.settings.key import Key
from roomcast.serve.rendering import JsonLines, Rendering, TextLines

Call = Callable[[], object]

EPOCH = "k7w2m9x4qa"
BODY = b'{"room":"developers","user":"anonymous","text":"%b"}' % (b"was geht ab in buxtehude? " * 4)
DRAFT = Draft("developers", None, BODY)
ROOMS = Selection.of({"developers"})
QUERY = b"room=developers&replay=10"
ACCEPT = "text/event-stream"
PUBLISH = (
    b"POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
PUBLISH %= len(BODY)
FOLLOW = b"GET /messages?%b HTTP/1.1\r\nHost: localhost\r\nAccept: %b\r\n\r\n" % (QUERY, ACCEPT.encode())

FOLLOWERS = 1_000
PREFIXES = 100
MANY_ROOMS = 10_000
REPLAYED = 10_000
GROUP = 32
WRITES = 100
HOLDERS = 16
"""Keys and known tickets; each request has a different one."""
RETAINED = 500
"""Messages in the log: each append trims as much as it adds, as in a server that has run for a while."""


class Operation(NamedTuple):
    """A step of the hot path."""

    name: str
    prepare: Callable[[], AbstractContextManager[Call]]
    """Provides the call, and its objects while the context is open."""
    units: int
    """How many units of the named kind one call performs."""
    counted: int
    """How many calls are counted; 0 if the operation is only timed, such as one whose threads make each count
    different."""


OPERATIONS: list[Operation] = []


def operation(
    name: str, *given: Any, units: int = 1, counted: int
) -> Callable[[Callable[..., Iterator[Call]]], Callable[..., Iterator[Call]]]:
    """Registers the function that prepares the operation `name`, to be called with `given`; the call that it
    yields is the operation. `units` and `counted` are those of `Operation`."""

    def register(prepare: Callable[..., Iterator[Call]]) -> Callable[..., Iterator[Call]]:
        context = contextmanager(prepare)
        OPERATIONS.append(Operation(name, lambda: context(*given), units, counted))
        return prepare

    return register


# Each message, once for all its followers.


@operation("each message: framed as SSE, chunked", WIRES[0], counted=400)
@operation("each message: framed as SSE, raw", WIRES[1], counted=400)
@operation("each message: framed as NDJSON, chunked", WIRES[2], counted=400)
@operation("each message: framed as NDJSON, raw", WIRES[3], counted=400)
def _framed(wire: Wire) -> Iterator[Call]:
    message = _message(12_345)
    yield lambda: wire.message(EPOCH, message)


# Each publish.


@operation("each publish: its body validated", counted=400)
def _validated() -> Iterator[Call]:
    yield lambda: parse_json(BODY, 65_536)


@operation("each request: its head as sent before", counted=400)
def _known() -> Iterator[Call]:
    with _context() as context:
        yield lambda: context.heads.find(PUBLISH)


@operation("each request: its head with a trace of its own", counted=100)
def _traced() -> Iterator[Call]:
    traces = (PUBLISH.replace(b"\r\n\r\n", b"\r\ntraceparent: 00-%032x-01\r\n\r\n" % n) for n in count())
    with _context() as context:
        yield lambda: context.heads.find(next(traces))


@operation("each request: its head sent for the first time", counted=100)
def _understood() -> Iterator[Call]:
    origins = (PUBLISH.replace(b"\r\n\r\n", b"\r\nOrigin: http://localhost:%04d\r\n\r\n" % n) for n in count())
    with _context() as context:
        yield lambda: context.heads.find(next(origins))


@operation("each publish: appended to memory and given to the tail, alone", 1, units=GROUP, counted=20)
@operation(
    "each publish: appended to memory and given to the tail, as one of a batch of 32",
    GROUP,
    units=GROUP * GROUP,
    counted=2,
)
def _appended_to_memory(size: int) -> Iterator[Call]:
    log = MemoryLog(Retention(RETAINED))
    tail = log.consumer("test", 0)
    drafts = [DRAFT] * size

    async def append() -> None:
        for _ in range(GROUP):
            log.append(drafts)
            await anext(tail)

    async def fill() -> None:
        await log.append([DRAFT] * RETAINED)

    with asyncio.Runner() as runner:
        runner.run(fill())
        yield lambda: runner.get_loop().run_until_complete(append())


@operation("each publish: committed to SQLite, alone", 1, counted=100)
@operation("each publish: committed to SQLite, as one of a group of 32", GROUP, units=GROUP, counted=40)
def _committed_to_sqlite(size: int) -> Iterator[Call]:
    requests = [AppendRequest([DRAFT], None)] * size
    with tempfile.TemporaryDirectory() as folder:
        opened = open_database(f"{folder}/log.db", new_epoch=False, synchronous="off")
        writer = SqliteWriter(
            opened.writer, opened.files, opened.state, opened.clock, Retention(RETAINED), EMPTY_ROOMS
        )
        writer.commit([AppendRequest([DRAFT] * RETAINED, None)], None)
        yield lambda: writer.commit(requests, None)
        opened.reader.close()
        writer.close()
        opened.lock.release()


@operation("each publish: through SQLite's thread and back, alone", 1, counted=0)
@operation("each publish: through SQLite's thread and back, one of 32 at once", GROUP, units=GROUP, counted=0)
def _through_the_writers_thread(size: int) -> Iterator[Call]:
    async def append() -> None:
        await asyncio.gather(*(log.append([DRAFT]) for _ in range(size)))

    with tempfile.TemporaryDirectory() as folder, asyncio.Runner() as runner:
        retention = Retention(RETAINED)
        log = runner.run(open_log("sqlite:", f"{folder}/log.db", retention=retention, synchronous="off"))
        yield lambda: runner.get_loop().run_until_complete(append())
        runner.run(log.close())


def _keys() -> Sequence[str]:
    return [f"rck_bench-{n}_{n:043}" for n in range(HOLDERS)]


SECRETS = Secrets.of_text("0123456789abcdefghijklmnopqrstuvwxyz", "the secret")
ROWS = [Key(name=f"bench-{n}", sha256=sha256(key), read=("*",), publish=("*",)) for n, key in enumerate(_keys())]


def _tickets() -> Iterator[str]:
    """Yields a different ticket each time."""
    for row in cycle(ROWS):
        yield seal(
            SECRETS,
            grantor_of(row),
            rooms=[*ROOMS.rooms],
            publish=[*ROOMS.rooms],
            sub="42",
            user="anonymous",
            now=time.time(),
            seconds=3600,
        )


def _sent(head: bytes, credential: str) -> bytes:
    return head.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer %b\r\n\r\n" % credential.encode())


def _in_url(head: bytes, ticket: str) -> bytes:
    return head.replace(QUERY, b"%b&ticket=%b" % (QUERY, ticket.encode()))


PLAIN, KEYED, TICKETED, NEW = "as everybody", "each with a key", "each with a ticket", "each with a new ticket"
URL_TICKETED, NEW_URL = "each with a ticket in its URL", "each with a new ticket in its URL"


def _heads(head: bytes, kind: str) -> Iterator[bytes]:
    """A head with a different credential each time. All are made before, so that making them is not counted."""
    if kind == PLAIN:
        return repeat(head)
    add = _in_url if kind in (URL_TICKETED, NEW_URL) else _sent
    given = _keys() if kind == KEYED else list(islice(_tickets(), 2_000 if kind in (NEW, NEW_URL) else HOLDERS))
    return cycle([add(head, credential) for credential in given])


@operation("each publish: from its bytes to its answer's, on memory", PLAIN, units=GROUP, counted=20)
@operation("each publish: from its bytes to its answer's, each with a key", KEYED, units=GROUP, counted=20)
@operation("each publish: from its bytes to its answer's, each with a ticket", TICKETED, units=GROUP, counted=20)
@operation("each publish: from its bytes to its answer's, each with a new ticket", NEW, units=GROUP, counted=20)
def _published(kind: str) -> Iterator[Call]:
    with asyncio.Runner() as runner, _context(runner, kind) as context:
        loop = runner.get_loop()
        heads = _heads(PUBLISH, kind)

        async def publish() -> None:
            connection = FastPath(context)
            connection.connection_made(cast(asyncio.Transport, _UnreadTransport()))
            for _ in range(GROUP):
                connection.data_received(next(heads) + BODY)
                await asyncio.sleep(0)  # the tail's turn: what is not delivered is not trimmed
            connection.connection_lost(None)

        yield lambda: loop.run_until_complete(publish())


# Each request, with the access log on.


@operation("each request: its line rendered for the log, as text", TextLines, counted=200)
@operation("each request: its line rendered for the log, as JSON", JsonLines, counted=200)
def _noted(rendering: Callable[[], Rendering]) -> Iterator[Call]:
    waiting, request = deque[str](maxlen=GROUP), rendering().request
    access.write_to(lambda *line: waiting.append(request(*line)))
    yield lambda: access.log_request("127.0.0.1", "POST", b"/messages", 201, 0.000123)
    access.write_to(None)


# Each delivery.


class _KeepsUp:
    """A follower that takes everything at once."""

    def send(self, data: bytes) -> int:
        return len(data)

    def write(self, data: bytes, start: int = 0) -> bool:
        raise AssertionError("it takes everything")

    def fall_behind(self, position: int) -> None:
        raise AssertionError("it never wants less")


@operation("each delivery: 1 message from the hub to one of 1,000 followers", 1, units=FOLLOWERS, counted=20)
@operation(
    "each delivery: 100 messages at once from the hub to one of 1,000 followers", 100, units=FOLLOWERS, counted=10
)
def _fed(burst: int) -> Iterator[Call]:
    hub = Hub(EPOCH, 0, 0, window_bytes=256 * 1024)
    hub.feed(
        [_message(seq) for seq in range(1, RETAINED + 1)], 0, 0.0
    )  # full, so that each call evicts as much as it adds
    for _ in range(FOLLOWERS):
        hub.join(ROOMS, WIRES[0], follower := _KeepsUp(), follower, 0.0)

    def call() -> None:
        first = hub.position + 1
        hub.feed([_message(seq) for seq in range(first, first + burst)], 0, 0.0)

    yield call


@operation(
    "each delivery: from the hub by prefix, 1,000 messages of 10,000 rooms to 1,000 followers of 100 prefixes",
    units=FOLLOWERS * FOLLOWERS // PREFIXES,
    counted=0,
)
def _fed_by_prefix() -> Iterator[Call]:
    hub = Hub(EPOCH, 0, 0)
    rooms = [f"{n % PREFIXES:02}/{n:05}" for n in range(MANY_ROOMS)]
    for n in range(FOLLOWERS):
        hub.join(Selection.of((), [f"{n % PREFIXES:02}/"]), WIRES[0], follower := _KeepsUp(), follower, 0.0)
    hub.feed([_message(seq, room) for seq, room in enumerate(rooms, 1)], 0, 0.0)

    def call() -> None:
        first = hub.position + 1
        hub.feed([_message(seq, rooms[seq % MANY_ROOMS]) for seq in range(first, first + FOLLOWERS)], 0, 0.0)

    yield call


class _EmptyTransport:
    """A transport whose socket takes everything at once."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def get_extra_info(self, name: str) -> object:
        return self._socket if name == "socket" else None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...

    def set_write_buffer_limits(self, high: int) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        """The first bytes, before the socket object is requested."""


@operation("each delivery: one write to a socket", units=WRITES, counted=10)
def _written_to_a_socket() -> Iterator[Call]:
    frame = WIRES[0].message(EPOCH, _message(12_345))
    with _loopback() as (near, far):
        connection = SocketConnection(Budget(2**26), lambda: None)
        connection.take(cast(asyncio.Transport, _EmptyTransport(near)))
        connection.write(frame)
        connection.write(frame)
        far.recv(len(frame), socket.MSG_WAITALL)

        def call() -> None:
            for _ in range(WRITES):
                connection.send(frame)
            far.recv(WRITES * len(frame), socket.MSG_WAITALL)

        yield call


# Each message that is replayed.


@operation("each replayed message: found in the window of 10,000", units=REPLAYED, counted=1)
def _found_in_the_window() -> Iterator[Call]:
    hub = Hub(EPOCH, 0, 0)
    hub.feed([_message(seq) for seq in range(1, REPLAYED + 1)], 0, 0.0)

    def call() -> None:
        position = 0
        while position < hub.position:
            piece = hub.piece_after(ROOMS, position)
            assert piece, "the window is too short"
            position = piece.position

    yield call


# Each follow.


@operation("each follow: a query and Accept as asked before", counted=400)
def _asked_again() -> Iterator[Call]:
    yield lambda: (preferred_format(ACCEPT), parse_query(QUERY)._replace(origin=After(f"{EPOCH}-12345")))


@operation("each follow: a query and Accept of its own", counted=100)
def _asked_first() -> Iterator[Call]:
    # A client can make both too long to be cached: here with an ignored parameter and an unknown media range.
    asked, accept = QUERY + b"&token=" + b"x" * 256, ACCEPT + ", text/" + "x" * 256
    yield lambda: (preferred_format(accept), parse_query(asked)._replace(origin=After(f"{EPOCH}-12345")))


@operation("each follow: from its bytes to its first", PLAIN, counted=200)
@operation("each follow: from its bytes to its first, each with a key", KEYED, counted=200)
@operation("each follow: from its bytes to its first, each with a ticket", TICKETED, counted=200)
@operation("each follow: from its bytes to its first, each with a ticket in its URL", URL_TICKETED, counted=200)
@operation("each follow: from its bytes to its first, each with a new ticket in its URL", NEW_URL, counted=200)
def _followed(kind: str) -> Iterator[Call]:
    with asyncio.Runner() as runner, _context(runner, kind) as context:
        heads = _heads(FOLLOW, kind)

        async def follow() -> None:
            connection = FastPath(context)
            connection.connection_made(cast(asyncio.Transport, transport := _UnreadTransport()))
            connection.data_received(next(heads))
            transport.protocol.connection_lost(None)

        yield lambda: runner.get_loop().run_until_complete(follow())


class _UnreadTransport:
    """A transport whose client reads nothing."""

    protocol: asyncio.BaseProtocol

    def get_extra_info(self, name: str) -> object:
        return None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None: ...

    def resume_reading(self) -> None: ...

    def abort(self) -> None: ...


@contextmanager
def _context(runner: asyncio.Runner | None = None, kind: str = PLAIN) -> Iterator[Context]:
    """The shared state of a server's connections, with some messages in a log in memory."""
    if runner is None:
        with asyncio.Runner() as runner, _context(runner) as context:
            yield context
        return
    settings = Settings(log="memory:", max_messages=RETAINED, heartbeat=3600)
    engine = runner.run(Engine.open(settings))
    runner.run(_filled(engine))
    rights = ConfiguredRights(keys=Keys(ROWS), secrets=SECRETS)
    yield Context(Handler(engine, NO_GUARD if kind == PLAIN else Guard(Mode.RIGHTS, rights)), engine)
    runner.run(engine.close())


async def _filled(service: Engine) -> None:
    await service.log.append([DRAFT] * RETAINED)
    await service.tail.reached((await service.log.bounds()).newest)


@contextmanager
def _loopback() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        near.setblocking(False)
        yield near, far


def _message(seq: int, room: str = "developers") -> Message:
    return Message(seq, room, None, 1_795_328_820_123, seq - 1, BODY)
