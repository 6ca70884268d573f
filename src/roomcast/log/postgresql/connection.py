"""Connections to the database: opened when needed, and reopened when lost. Knows nothing of the log.

A pooler may give a connection to another client after each transaction (PgBouncer with `pool_mode = transaction`).
Nothing outlives a transaction there: no prepared statement, no setting, no LISTEN. So each call is a transaction
that begins with its settings. That takes three more round trips, so it is only done behind a pooler. A pooler is
detected by process ids: the one that the connection was given at its start differs from that of the process which
answers.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from roomcast.log.postgresql.queries import QUERIES, Row

_CONNECT_SECONDS = 3.0
"""The most that each step of connecting may take."""
_CALL_SECONDS = 10.0
"""Longer than the database's own `statement_timeout`: its error says why, and leaves the connection open."""
_CHANNEL = "roomcast"
_PORT = re.compile(r":([0-9]+)$")

Connection = Any
"""asyncpg's connection; asyncpg has no types."""


class Session:
    """One connection, for one call at a time. Every call raises what the driver raises. If the error ended the
    connection, the next call opens another one, maybe to another primary."""

    def __init__(self, url: str, *, on_notification: Callable[[str], None] | None = None) -> None:
        """`url`: the connection string. `on_notification` is called with the text of each notification; behind a
        pooler there are none. A reconnect may lose some."""
        self._url = url
        self._on_notification = on_notification
        self._lock = asyncio.Lock()
        self._connection: Connection = None
        self._statements: dict[str, Any] = {}
        self.pooled = False
        """Whether there is a pooler in front of the database."""
        self._closed = False

    @property
    def listening(self) -> bool:
        """Whether notifications arrive now."""
        connected = self._connection is not None and not self._connection.is_closed()
        return connected and self._on_notification is not None and not self.pooled

    async def rows(self, name: str, *values: object) -> Sequence[Row]:
        """The rows of the query `name` in queries.sql, called with `values` for $1, $2 and so on."""
        async with self.transaction(name) as call:
            rows: Sequence[Row] = await call(name, *values)
        return rows

    async def row(self, name: str, *values: object) -> Row:
        """The one row of the query `name` in queries.sql, called with `values`."""
        [row] = await self.rows(name, *values)
        return row

    async def script(self, *texts: str) -> None:
        """Runs the statements `texts`: all of them, or none if one fails."""
        async with self.transaction():
            for text in texts:
                await self._connection.execute(text, timeout=_CALL_SECONDS)

    @asynccontextmanager
    async def transaction(self, only: str = "") -> AsyncIterator[Callable[..., Any]]:
        """Yields a function that runs a query, given its name and values. All its calls are one transaction.
        `only`: the name of the only query, which needs no explicit transaction without a pooler."""
        async with self._lock, self._checked_connection() as connection:
            if only and not self.pooled:
                yield self._call
                return
            begin = f"BEGIN; {QUERIES['settings_of_transaction']}" if self.pooled else "BEGIN"
            await connection.execute(begin, timeout=_CALL_SECONDS)
            try:
                yield self._call
            except BaseException:
                if not connection.is_closed():
                    await connection.execute("ROLLBACK", timeout=_CALL_SECONDS)
                raise
            await connection.execute("COMMIT", timeout=_CALL_SECONDS)

    async def drop(self) -> None:
        """Closes the connection. The next call opens another one."""
        connection, self._connection = self._connection, None
        if connection and not connection.is_closed():
            with suppress(Exception):  # the connection may be half open, and is of no use any more
                await connection.close(timeout=1.0)
            if not connection.is_closed():
                connection.terminate()

    async def close(self) -> None:
        """Closes the connection for good: later calls raise asyncpg's `InterfaceError`."""
        self._closed = True
        async with self._lock:
            await self.drop()

    @asynccontextmanager
    async def _checked_connection(self) -> AsyncIterator[Connection]:
        """Yields the connection, and terminates it if an error leaves its state in doubt."""
        connection = await self._connected()
        try:
            yield connection
        except (TimeoutError, asyncio.CancelledError, asyncpg.InterfaceError):
            connection.terminate()
            self._connection = None
            raise

    async def _call(self, name: str, *values: object) -> Sequence[Row]:
        if self.pooled:
            rows: Sequence[Row] = await self._connection.fetch(QUERIES[name], *values, timeout=_CALL_SECONDS)
            return rows
        statement = self._statements.get(name)
        if statement is None:
            statement = await self._connection.prepare(QUERIES[name], timeout=_CALL_SECONDS)
            self._statements[name] = statement
        found: Sequence[Row] = await statement.fetch(*values, timeout=_CALL_SECONDS)
        return found

    async def _connected(self) -> Connection:
        if self._closed:
            raise asyncpg.InterfaceError("the log is closed")
        if self._connection is None or self._connection.is_closed():
            self._statements.clear()
            self._connection = None
            connection = await _connect(self._url)
            try:
                await self._set_up(connection)
            except BaseException:
                connection.terminate()
                raise
            self._connection = connection
        return self._connection

    async def _set_up(self, connection: Connection) -> None:
        async with connection.transaction():
            pid = await connection.fetchval("SELECT pg_backend_pid()", timeout=_CONNECT_SECONDS)
        self.pooled = pid != connection.get_server_pid()
        if self.pooled:
            return
        await connection.execute(QUERIES["settings"], timeout=_CONNECT_SECONDS)
        if self._on_notification:
            await connection.add_listener(_CHANNEL, self._notified)

    def _notified(self, connection: Connection, pid: int, channel: str, payload: str) -> None:
        if self._on_notification:
            self._on_notification(payload)


async def _connect(url: str) -> Connection:
    """A connection to `url` as libpq would make it. PG… variables, a service file and .pgpass supply whatever the
    string leaves out. Of several hosts, the driver takes a primary, unless the string says otherwise. Raises what
    the driver raises, and `ValueError` for a port that no server can have."""
    _check_ports(url)
    chosen = "target_session_attrs" in url or "PGTARGETSESSIONATTRS" in os.environ
    target = None if chosen else "primary"
    # Two limits: the driver's own does not cover name lookups and the TLS handshake.
    async with asyncio.timeout(3 * _CONNECT_SECONDS):
        return await asyncpg.connect(
            url, timeout=_CONNECT_SECONDS, statement_cache_size=0, target_session_attrs=target
        )


def _check_ports(url: str) -> None:
    """Raises `ValueError` for an impossible port in `url`. The driver would connect to it modulo 65,536."""
    hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
    for port in [found[1] for host in hosts if (found := _PORT.search(host))]:
        if not 0 < int(port) < 65_536:
            raise ValueError(f"there is no port {port:.20}")
