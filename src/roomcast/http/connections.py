"""All connections of a server: their limit, and which of them are closed when there are too many.

The attack: 1,024 silent connections took all of a process's files, and 120 of 126 newcomers were reset. So there
are fewer connections than files, and a newcomer gets in as long as another connection waits: the one that has
waited longest is closed. Silent connections must not drive out useful ones: if most have not sent a complete
request yet, one of these is closed. A follower is never closed for others; there are fewer followers than
connections. Neither is a publish, a deletion or a revocation: its client could not know whether it took place.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

from roomcast.auth.rate_limiter import client_name
from roomcast.delivery.counts import Counts
from roomcast.http.forwarded import Forwarded
from roomcast.http.intake import MEMORY
from roomcast.model.settings import Settings

FILES, ADDRESS = "files", "address"
_LOG_AGAIN_SECONDS = 60.0
"""Minimum time between two log lines with the same reason: an attack must not fill the log."""
_OWN = ". If they are your own clients, check the network and the proxy between"

logger = logging.getLogger("roomcast.server")


class RequestConnection(Protocol):
    """A connection that still carries requests, unlike a follower's."""

    def expire(self) -> None:
        """Closes the connection if a step has taken too long. Called every few seconds."""
        ...

    def shutdown(self) -> None:
        """Called when the server is about to end: finishes the pending answer and reads no more requests."""
        ...


class Socket(Protocol):
    """The identity of a connection: its transport, or its handshake."""

    def abort(self) -> None:
        """Closes the connection at once."""
        ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The transport's information `name`, such as `peername`; `default` if it has none."""
        ...


class Connections:
    """All connections of a server, over all of its listening sockets."""

    def __init__(self, settings: Settings, closed: Counter[str]) -> None:
        """`closed` counts the connections that the server closes by itself, by reason."""
        self._settings = settings
        self.limit = settings.connections_limit
        """Maximum number of open connections, streams included."""
        self.open = 0
        """Open connections, streams included. Those closed in this turn of the loop are not counted."""
        self._all: dict[Socket, RequestConnection] = {}
        """The open connections that are not streams."""
        self._silent: OrderedDict[Socket, None] = OrderedDict()
        """The connections without a complete request yet; the oldest first."""
        self._waiting: OrderedDict[Socket, None] = OrderedDict()
        """The other connections that wait for their client, or for a read of the log; the longest wait first."""
        self._counted: dict[Socket, str] = {}
        """The name under which each connection is counted: that of its address (`client_name`)."""
        self.addresses: Counter[str] = Counter()
        """The number of connections of each counted address."""
        self.counts: Counts | None = None
        """The same numbers, shared with the other workers of this server, if there are any."""
        self.elsewhere: Callable[[str], int] = lambda address: 0
        """The number of connections of an address at the other workers."""
        self._trusts = Forwarded(settings.trusted_proxy, settings.forwarded_header).trusts
        self._on_stream_closed = self._stream_closed
        """The bound method, kept so that all streams share one object."""
        self._closed = closed
        self._logged: dict[str, tuple[float, int]] = {}
        """For each reason, the time of its last log line and the count by then."""
        self.empty = asyncio.Event()
        """Set when the last connection that is not a stream is closed."""

    # Called by connections

    def enter(self, socket: Socket, exchange: RequestConnection) -> None:
        """Adds the new connection `socket`, which waits for its client; `exchange` carries its requests. Closes it
        at once if its address has too many connections, or if there are too many and none of them waits."""
        if self._settings.max_connections_per_address and not self._count_address(socket):
            self.count_closed(ADDRESS)
            socket.abort()
            return
        self.open += 1
        self._all[socket] = exchange
        self._silent[socket] = None
        self._make_room()

    def hand_over(self, socket: Socket, exchange: RequestConnection) -> None:
        """`exchange` carries the requests of the connection `socket` from now on."""
        if socket in self._all:
            self._all[socket] = exchange

    def mark_waiting(self, socket: Socket) -> None:
        """The connection `socket` waits for its client, or for a read of the log, from now on. One that is silent
        stays so."""
        if socket in self._all and socket not in self._silent:
            self._waiting[socket] = None
            self._waiting.move_to_end(socket)

    def mark_busy(self, socket: Socket) -> None:
        """The connection `socket` waits for the server from now on, as in a publish or a deletion: it is not
        closed for others."""
        self._silent.pop(socket, None)
        self._waiting.pop(socket, None)

    def leave(self, socket: Socket) -> None:
        """The connection `socket` was closed. May be called twice."""
        if self._forget(socket):
            self._free(self._counted.pop(socket, None))

    def follow(self, socket: Socket) -> Callable[[], None]:
        """The connection `socket` is a stream from now on. Returns a function to call when it is closed."""
        if not self._forget(socket):  # it was just closed to make room
            return lambda: None
        address = self._counted.pop(socket, None)
        return self._on_stream_closed if address is None else partial(self._stream_closed, address)

    def count_closed(self, reason: str) -> None:
        """Counts a connection that the server closed before its client was done. `reason` is one of those in
        `families.CLOSED`."""
        self._closed[reason] += 1

    # Called by the server

    def __contains__(self, socket: Socket) -> bool:
        return socket in self._all

    def everyone(self) -> list[tuple[Socket, RequestConnection]]:
        """All connections that are not streams."""
        return list(self._all.items())

    def states(self) -> dict[str, int]:
        """The number of connections in each state: silent, waiting, answering, following."""
        silent, waiting = len(self._silent), len(self._waiting)
        return {
            "silent": silent,
            "waiting": waiting,
            "answering": len(self._all) - silent - waiting,
            "following": self.open - len(self._all),
        }

    def look(self, now: float) -> None:
        """Called every few seconds: logs what was closed, and adopts a changed limit (`prlimit`). `now` is the
        loop's time in seconds."""
        self.limit = self._settings.connections_limit
        self._make_room()
        for line in self._lines(now):
            logger.warning("%s", line)

    # Counting

    def _make_room(self) -> None:
        while self.open > self.limit and (self._silent or self._waiting):
            mostly_silent = 2 * len(self._silent) > len(self._all)
            socket = next(iter(self._silent if mostly_silent or not self._waiting else self._waiting))
            self.count_closed(FILES)
            self.leave(socket)
            socket.abort()

    def _forget(self, socket: Socket) -> bool:
        """Removes a connection from all states; returns whether it was open and not a stream."""
        if self._all.pop(socket, None) is None:
            return False
        self.mark_busy(socket)
        if not self._all:
            self.empty.set()
        return True

    def _stream_closed(self, address: str | None = None) -> None:
        """A stream's connection is closed."""
        self._free(address)

    def _free(self, address: str | None) -> None:
        self.open -= 1
        if address is not None:
            self.addresses[address] -= 1
            self._share_count(address)
            if not self.addresses[address]:
                del self.addresses[address]

    def _count_address(self, socket: Socket) -> bool:
        """Counts the connection under its address; returns False if the address has too many."""
        peer = socket.get_extra_info("peername")
        if not isinstance(peer, tuple) or self._trusts(peer[0]):
            return True
        address = client_name(peer[0])
        if self.addresses[address] + self.elsewhere(address) >= self._settings.max_connections_per_address:
            return False
        self.addresses[address] += 1
        self._share_count(address)
        self._counted[socket] = address
        return True

    def _share_count(self, address: str) -> None:
        if self.counts is not None:
            self.counts.set(address, self.addresses[address])

    def _lines(self, now: float) -> Iterator[str]:
        """The log lines that are due."""
        for reason, text in self._texts().items():
            logged_at, logged = self._logged.get(reason, (-_LOG_AGAIN_SECONDS, 0))
            count = self._closed[reason]
            if count > logged and now >= logged_at + _LOG_AGAIN_SECONDS:
                self._logged[reason] = now, count
                yield text.format(count - logged)

    def _texts(self) -> Mapping[str, str]:
        each = self._settings.max_connections_per_address
        return {
            FILES: "closed {} connections that had waited longest, to make room for others: this process may "
            f"use {self.limit} files for connections. Allow more files (ulimit -n), or limit each address with "
            "--max-connections-per-address",
            ADDRESS: f"refused {{}} connections of addresses that already have {each}. If they are your own "
            "clients, raise --max-connections-per-address",
            MEMORY: "closed {} connections, the slowest senders: requests that are being received use "
            f"{self._settings.body_memory} bytes together. If they are your own clients, raise --body-memory",
            "handshake": "closed {} connections that did not finish their TLS handshake in time" + _OWN,
            "head": "closed {} connections that did not send a request's head in time" + _OWN,
            "body": "closed {} connections that did not send a request's body in time" + _OWN,
            "answer": "closed {} connections whose clients did not read their answers" + _OWN,
        }
