"""All connections of a server: how many there may be, and which of them go when there are too many.

The attack: 1,024 connections that send nothing took all of a process's files, and 120 of 126 newcomers were reset.
So there are fewer connections than files, and a newcomer always gets in: one that waits for its client is closed,
the one that has waited longest. Silent ones do not drive out those that were of use: where most have sent no whole
request yet, it is one of these. A follower is never closed for others; there are fewer followers than connections.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from ipaddress import IPv6Address
from typing import Any, Protocol

from roomcast.delivery.counts import Counts
from roomcast.http.forwarded import Forwarded
from roomcast.http.intake import MEMORY
from roomcast.model.settings import Settings

FILES, ADDRESS = "files", "address"
_SAY_AGAIN_SECONDS = 60.0
"""Between two lines of one reason: an attack must not fill the log."""

logger = logging.getLogger("roomcast.server")


class Exchanging(Protocol):
    """A connection that carries requests; a follower's no longer does."""

    def expire(self) -> None:
        """Ends what has taken too long. Called every few seconds."""
        ...

    def shutdown(self) -> None:
        """The server is about to end: what is under way is answered, and nothing more."""
        ...


class Socket(Protocol):
    """What a connection is known by: its transport, or its handshake."""

    def abort(self) -> None:
        """Closes it at once."""
        ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As a transport's."""
        ...


class Connections:
    """One for all of a server's sockets."""

    def __init__(self, settings: Settings, closed: Counter[str]) -> None:
        """`closed` counts the connections that the server closes by itself, by reason."""
        self._settings = settings
        self.limit = settings.connections_limit
        """Connections at once, streams included."""
        self.open = 0
        """As many are there, streams included. Those that were closed in this turn of the loop are not."""
        self._all: dict[Socket, Exchanging] = {}
        """Without the streams."""
        self._silent: OrderedDict[Socket, None] = OrderedDict()
        """Those whose clients have sent no whole request yet; the oldest comes first."""
        self._waiting: OrderedDict[Socket, None] = OrderedDict()
        """The others that wait for their clients, to send or to take something, or for a read of the log; who has
        waited longest comes first."""
        self._counted: dict[Socket, str] = {}
        """The address that a connection is counted for."""
        self.addresses: Counter[str] = Counter()
        """How many each address has that is counted."""
        self.counts: Counts | None = None
        """The same, for other workers of this server, where there are any."""
        self.elsewhere: Callable[[str], int] = lambda address: 0
        """How many an address has at other workers of this server."""
        self._trusts = Forwarded(settings.trusted_proxy, settings.forwarded_header).trusts
        self._gone = self._followed
        """Kept, so that streams share it."""
        self._closed = closed
        self._said: dict[str, tuple[float, int]] = {}
        """For each reason when it was last said, and how many there had been by then."""
        self.empty = asyncio.Event()
        """Set when the last one is gone that is no stream."""

    # What connections tell.

    def enter(self, socket: Socket, exchange: Exchanging) -> None:
        """A new one, which waits for its client. It is closed at once where its address has too many, or where
        there are too many and none of them waits."""
        if self._settings.max_connections_per_address and not self._count_address(socket):
            self.count(ADDRESS)
            socket.abort()
            return
        self.open += 1
        self._all[socket] = exchange
        self._silent[socket] = None
        self._make_room()

    def hand_over(self, socket: Socket, exchange: Exchanging) -> None:
        """Another protocol has it from now on."""
        if socket in self._all:
            self._all[socket] = exchange

    def waits(self, socket: Socket) -> None:
        """Its client is to send or to take something, or it reads: from now on."""
        if socket in self._all and socket not in self._silent:
            self._waiting[socket] = None
            self._waiting.move_to_end(socket)

    def works(self, socket: Socket) -> None:
        """It is the server's turn, as with a publish: it is not closed for others."""
        self._silent.pop(socket, None)
        self._waiting.pop(socket, None)

    def leave(self, socket: Socket) -> None:
        """It is gone; a second time is fine."""
        if self._forget(socket):
            self._free(self._counted.pop(socket, None))

    def follow(self, socket: Socket) -> Callable[[], None]:
        """It is a stream from now on. Returns what is to be called when it is gone."""
        if not self._forget(socket):  # closed for another one just now
            return lambda: None
        address = self._counted.pop(socket, None)
        return self._gone if address is None else partial(self._followed, address)

    def count(self, reason: str) -> None:
        """One was closed by the server, before its client was done with it."""
        self._closed[reason] += 1

    # What the server asks.

    def __contains__(self, socket: Socket) -> bool:
        return socket in self._all

    def everyone(self) -> list[tuple[Socket, Exchanging]]:
        """All that are no streams."""
        return list(self._all.items())

    def states(self) -> dict[str, int]:
        """How many are in which state."""
        silent, waiting = len(self._silent), len(self._waiting)
        return {
            "silent": silent,
            "waiting": waiting,
            "answering": len(self._all) - silent - waiting,
            "following": self.open - len(self._all),
        }

    def look(self, now: float) -> None:
        """Called every few seconds: says what was closed, and follows a limit that was changed (`prlimit`)."""
        self.limit = self._settings.connections_limit
        self._make_room()
        for line in self._lines(now):
            logger.warning("%s", line)

    # Counting

    def _make_room(self) -> None:
        while self.open > self.limit and (self._silent or self._waiting):
            mostly_silent = 2 * len(self._silent) > len(self._all)
            socket = next(iter(self._silent if mostly_silent or not self._waiting else self._waiting))
            self.count(FILES)
            self.leave(socket)
            socket.abort()

    def _forget(self, socket: Socket) -> bool:
        """Whether it was there."""
        if self._all.pop(socket, None) is None:
            return False
        self.works(socket)
        if not self._all:
            self.empty.set()
        return True

    def _followed(self, address: str | None = None) -> None:
        """A stream's connection is gone."""
        self._free(address)

    def _free(self, address: str | None) -> None:
        self.open -= 1
        if address is not None:
            self.addresses[address] -= 1
            self._tell(address)
            if not self.addresses[address]:
                del self.addresses[address]

    def _count_address(self, socket: Socket) -> bool:
        """Whether its address may have one more."""
        peer = socket.get_extra_info("peername")
        if not isinstance(peer, tuple) or self._trusts(peer[0]):
            return True
        address = network_of(peer[0])
        if self.addresses[address] + self.elsewhere(address) >= self._settings.max_connections_per_address:
            return False
        self.addresses[address] += 1
        self._tell(address)
        self._counted[socket] = address
        return True

    def _tell(self, address: str) -> None:
        if self.counts is not None:
            self.counts.set(address, self.addresses[address])

    def _lines(self, now: float) -> Iterator[str]:
        """What is to be said now."""
        for reason, text in self._texts().items():
            said_at, said = self._said.get(reason, (-_SAY_AGAIN_SECONDS, 0))
            count = self._closed[reason]
            if count > said and now >= said_at + _SAY_AGAIN_SECONDS:
                self._said[reason] = now, count
                yield text.format(count - said)

    def _texts(self) -> Mapping[str, str]:
        each = self._settings.max_connections_per_address
        return {
            FILES: "closed {} connections that had waited longest, to make room for others: of this process's "
            f"files {self.limit} are for connections. Allow more files (ulimit -n), or limit each address with "
            "--max-connections-per-address",
            ADDRESS: f"refused {{}} connections of addresses that have {each} already "
            "(--max-connections-per-address)",
            MEMORY: "closed {} connections, the slowest senders: requests that are being received hold "
            f"{self._settings.body_memory} bytes together (--body-memory)",
            "handshake": "closed {} connections that did not do their TLS handshake in time",
            "head": "closed {} connections that did not send a request's head in time",
            "body": "closed {} connections that did not send a request's body in time",
            "answer": "closed {} connections whose clients did not take their answers",
        }


def network_of(address: str) -> str:
    """What is counted as one address: of IPv6 the /64, which is what one client is given."""
    if ":" not in address:
        return address
    return IPv6Address(address.partition("%")[0]).packed[:8].hex()
