"""Databases for the tests: FerretDB and SecantusDB in place of MongoDB, or the server that ROOMCAST_TEST_MONGODB
names.

The two complement each other. FerretDB never trims by itself, and its tailable cursor repeats, reorders and loses
documents. SecantusDB trims with each insert, is the primary of a replica set, and has users.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest

from roomcast.log.mongodb.opening import Document, MongoTuning
from tests.running import PATIENCE, free_port, wait_for

from pymongo.asynchronous.cursor import AsyncCursor  # isort: skip
from pymongo.asynchronous.database import AsyncDatabase  # isort: skip

BINARY = Path(__file__).parent / "build" / "ferretdb"
REAL = os.environ.get("ROOMCAST_TEST_MONGODB", "")
"""The connection string of a real server, without a database."""
SERVERS = ["mongodb"] if REAL else ["ferretdb", "secantusdb"]
"""The names of the fixtures for servers. A test that names none uses the first."""


def widen(cursor: AsyncCursor[Document]) -> None:
    """Sets a large batch size after the first batch: FerretDB ends a cursor whose first batch is not full, and
    takes 10 ms for each further batch."""
    cursor._batch_size = 1_000


TUNINGS = {
    "mongodb": MongoTuning(check_seconds=0.3),
    # With a shorter wait FerretDB repeats and loses documents.
    "ferretdb": MongoTuning(await_ms=5_000, check_seconds=0.3, first_batch=1, opened=widen),
    "secantusdb": MongoTuning(check_seconds=0.3),
}


class MongoDB(NamedTuple):
    """A server that tests share."""

    kind: str
    server: str
    """Its connection string, without a database."""

    @property
    def tuning(self) -> MongoTuning:
        return TUNINGS[self.kind]

    @property
    def trims(self) -> bool:
        """Whether it trims with each insert, like MongoDB."""
        return self.kind != "ferretdb"

    @property
    def address(self) -> tuple[str, int]:
        """The host and port of its only, or first, member."""
        first = urlsplit(self.server.partition(",")[0])
        return first.hostname or "localhost", first.port or 27017

    def url(self, name: str = "", options: str = "", address: tuple[str, int] | None = None) -> str:
        """The connection string of the database `name`, or of a new one. `address`: the proxy to connect
        through."""
        kind, _, rest = self.server.partition("://")
        hosts, _, given = rest.partition("?")
        login, at, hosts = hosts.rstrip("/").rpartition("@")
        if address:
            hosts = "{}:{}".format(*address)
            # Otherwise the driver would learn the members' addresses and bypass the proxy. And it would notice a
            # fault of the proxy only after 10 s, the time for which the server may delay its answer.
            options += "&directConnection=true&serverMonitoringMode=poll&heartbeatFrequencyMS=500"
        options = "&".join(part for part in (given, options.strip("&")) if part)
        return f"{kind}://{login}{at}{hosts}/{name or fresh_name()}{'?' if options else ''}{options}"

    async def trim(self, database: AsyncDatabase[Document]) -> None:
        """Trims `messages` to its `max`: FerretDB does that only on request."""
        if not self.trims:
            await database.command("compact", "messages")


class Process(ABC):
    """A server process on its own port. After `kill`, `start` continues with the same files."""

    kind = ""

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.kind}-"))
        self.port = free_port()
        self.options = list(options)
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """The command that starts it."""

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    @property
    def shared(self) -> MongoDB:
        return MongoDB(self.kind, self.url)

    def start(self) -> None:
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.command(), *self.options], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        wait_for(self._answers, f"{self.kind} to listen")

    def kill(self) -> None:
        """Kills it at once, like a crash."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)

    def stop(self) -> None:
        """Stops it as an operator does."""
        assert self.process
        self.process.terminate()
        self.process.wait(PATIENCE)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "log.txt").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class FerretDB(Process):
    """MongoDB's protocol over SQLite."""

    kind = "ferretdb"

    def command(self) -> list[str]:
        return [str(BINARY), f"127.0.0.1:{self.port}", str(self.folder)]


class SecantusDB(Process):
    """MongoDB's protocol over WiredTiger, as the only member of a replica set."""

    kind = "secantusdb"

    def command(self) -> list[str]:
        where = ["--port", str(self.port), "--storage-path", str(self.folder / "data")]
        return [sys.executable, "-m", "secantus", "--log-level", "ERROR", "--cache-size", "64M", *where]


def require_ferretdb() -> None:
    """Skips the test, or fails it in CI, if FerretDB is not built."""
    if not BINARY.exists():
        _leave_out("FerretDB is not built: install Go 1.24 or newer, and run tests/setup.sh")


def require_secantusdb() -> None:
    """Skips the test, or fails it in CI, if SecantusDB is not installed."""
    if importlib.util.find_spec("secantus") is None:
        _leave_out(
            "SecantusDB is not installed: pip install -e '.[dev]' installs it if there is a wheel for this machine"
        )


def _leave_out(message: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def fresh_name() -> str:
    """The name of a new database."""
    return f"roomcast_{uuid.uuid4().hex[:12]}"
