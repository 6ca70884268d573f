"""A server whose every byte the test writes, and a recorder of the events that a client yields. Both clients are
driven in the same way, so that each test is written once."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Self

from roomcast.client import AsyncClient, Client
from roomcast.client.sse import Pause, aconnect, connect
from tests.running import PATIENCE

END = "the end"


def aside(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
    """Calls it in a daemon thread, which never blocks the end of the test."""
    result: Future[Any] = Future()

    def run() -> None:
        try:
            result.set_result(call(*args, **kwargs))
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return result


class Connection:
    """A client's connection, with its request read."""

    def __init__(self, accepted: socket.socket) -> None:
        self.socket = accepted
        self.socket.settimeout(PATIENCE)
        self._received = b""
        head = self._until(b"\r\n\r\n").decode("latin-1")
        first, *lines = head.split("\r\n")
        self.method, self.target, _ = first.split(" ")
        fields = (line.partition(":") for line in lines)
        self.headers = {name.lower(): value.strip() for name, _, value in fields}
        length = int(self.headers.get("content-length", 0))
        while len(self._received) < length:
            self._more()
        self.body = self._received[:length]

    def answer(self, status: str = "200 OK", *fields: str, body: bytes = b"") -> None:
        """Sends a whole answer."""
        self._send_head(status, *fields, f"Content-Length: {len(body)}", "Connection: close")
        self.socket.sendall(body)
        self.socket.close()

    def begin(self, content_type: str = "text/event-stream") -> Self:
        """Sends a stream's head. Its pieces are chunks, so that a clean end differs from a cut."""
        self._send_head("200 OK", f"Content-Type: {content_type}", "Transfer-Encoding: chunked")
        return self

    def send(self, *pieces: bytes | str) -> None:
        """Sends each piece as a chunk, in a write of its own."""
        for piece in pieces:
            data = piece.encode() if isinstance(piece, str) else piece
            self.socket.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self, *pieces: bytes | str) -> None:
        """Ends the stream cleanly."""
        self.send(*pieces)
        self.socket.sendall(b"0\r\n\r\n")
        self.socket.close()

    def end_and_keep(self) -> None:
        """Ends the stream cleanly, and keeps the connection for another request."""
        self.socket.sendall(b"0\r\n\r\n")

    def cut(self) -> None:
        """Closes the connection in the middle of the stream."""
        self.socket.close()

    def reset(self) -> None:
        """Closes it with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def wait_until_the_client_is_gone(self) -> None:
        with contextlib.suppress(ConnectionError):
            while self.socket.recv(65536):
                pass
        self.socket.close()

    def _send_head(self, status: str, *fields: str) -> None:
        self.socket.sendall("\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode("latin-1"))

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._received:
            self._more()
        found, _, self._received = self._received.partition(mark)
        return found

    def _more(self) -> None:
        data = self.socket.recv(65536)
        assert data, f"the client hung up: {self._received!r}"
        self._received += data


class ScriptedServer:
    """A listening socket, which accepts a connection when the test asks for one."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listening.settimeout(PATIENCE)
        self._connections: list[Connection] = []
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/events"

    def next(self) -> Connection:
        """Accepts the next connection."""
        self._connections.append(Connection(self._listening.accept()[0]))
        return self._connections[-1]

    def is_quiet(self, seconds: float) -> bool:
        """Whether no client connects for `seconds` seconds."""
        self._listening.settimeout(seconds)
        try:
            self._listening.accept()[0].close()
        except TimeoutError:
            return True
        finally:
            self._listening.settimeout(PATIENCE)
        return False

    def close(self) -> None:
        with contextlib.suppress(OSError):  # this ends the accept() of another thread only on Linux
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._connections:
            connection.socket.close()


class EventRecorder:
    """Follows in a thread, and records events, comments, pauses, and at last an error or END."""

    def __init__(self, kind: str, url: str, **options: Any) -> None:
        self._heard: queue.Queue[Any] = queue.Queue()
        self._options = {"retry": 0.0, "on_pause": self._heard.put, **options}
        self._url = url
        self.source: Any = None
        """The event source that it iterates."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._await if kind == "async" else self._block, daemon=True)
        self._thread.start()
        assert self._ready.wait(PATIENCE)

    def next(self) -> Any:
        """The next event, comment, error or END."""
        while isinstance(item := self.next_of_all(), Pause):
            pass
        return item

    def next_of_all(self) -> Any:
        """The next item, also a pause."""
        return self._heard.get(timeout=PATIENCE)

    def next_pause(self) -> Pause:
        item = self.next_of_all()
        assert isinstance(item, Pause), item
        return item

    def restart(self) -> None:
        self._call("restart", "restart")

    def close(self) -> None:
        """Ends the iteration from outside, and waits for the thread."""
        if self._thread.is_alive():
            self._call("close", "aclose")
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def _call(self, name: str, async_name: str) -> None:
        if self._loop is None:
            getattr(self.source, name)()
            return
        with contextlib.suppress(RuntimeError):  # the loop has ended
            calling = getattr(self.source, async_name)()
            try:
                asyncio.run_coroutine_threadsafe(calling, self._loop).result(PATIENCE)
            finally:
                calling.close()

    def _block(self) -> None:
        try:
            with connect(self._url, **self._options) as self.source:
                self._ready.set()
                for item in self.source:
                    self._heard.put(item)
            self._heard.put(END)
        except Exception as error:
            self._heard.put(error)

    def _await(self) -> None:
        async def listen() -> None:
            self._loop = asyncio.get_running_loop()
            async with aconnect(self._url, **self._options) as self.source:
                self._ready.set()
                async for item in self.source:
                    self._heard.put(item)

        try:
            asyncio.run(listen())
            self._heard.put(END)
        except Exception as error:
            self._heard.put(error)


class Bounded:
    """A `Client` whose calls all end after a while."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._client = Client(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self._run(getattr(self._client, name), *args, **kwargs)

    def _run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return aside(call, *args, **kwargs).result(2 * PATIENCE)

    def leave(self) -> None:
        """Closes the client, while calls are under way."""
        self.close()

    def follow(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        with self._client.follow(*args, **kwargs) as stream:
            while True:
                try:
                    yield self._run(next, stream)
                except StopIteration:
                    return


class Sync:
    """An `AsyncClient` with the methods of `Client`, so that one test serves both. Its loop runs in a thread."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._client = AsyncClient(*args, **kwargs)

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(2 * PATIENCE)

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: self.run(getattr(self._client, name)(*args, **kwargs))

    def follow(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        stream = self._client.follow(*args, **kwargs)
        try:
            while True:
                try:
                    yield self.run(stream.__anext__())
                except StopAsyncIteration:
                    return
        finally:
            self.run(stream.aclose())

    def leave(self) -> None:
        """Closes the client, while calls are under way."""
        self.run(self._client.aclose())

    def close(self) -> None:
        self.run(self._client.aclose())
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


CLIENTS: dict[str, Any] = {"sync": Bounded, "async": Sync}
