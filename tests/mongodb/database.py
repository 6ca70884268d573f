"""Databases for the tests: FerretDB and SecantusDB in place of MongoDB, or the server that ROOMCAST_TEST_MONGODB
names.

The two differ where it matters. FerretDB never trims by itself, and its tail repeats, reorders and loses;
SecantusDB trims with each insert, is the primary of a replica set, and has users.
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

from roomcast.log.mongodb.opening import Document, Tuning
from tests.running import PATIENCE, wait_for

from pymongo.asynchronous.cursor import AsyncCursor  # isort: skip
from pymongo.asynchronous.database import AsyncDatabase  # isort: skip

BINARY = Path(__file__).parent / "build" / "ferretdb"
REAL = os.environ.get("ROOMCAST_TEST_MONGODB", "")
"""The connection string of a real server, without a database."""
SERVERS = ["mongodb"] if REAL else ["ferretdb", "secantusdb"]
"""The fixtures that are a server; a test that names none takes the first."""


def widen(cursor: AsyncCursor[Document]) -> None:
    """FerretDB ends a cursor whose first batch is not full, and takes 10 ms for each further one."""
    cursor._batch_size = 1_000


TUNINGS = {
    "mongodb": Tuning(look_seconds=0.3),
    # A shorter wait makes FerretDB repeat and lose what it brings.
    "ferretdb": Tuning(await_ms=5_000, look_seconds=0.3, first_batch=1, opened=widen),
    "secantusdb": Tuning(look_seconds=0.3),
}


class MongoDB(NamedTuple):
    """A server that tests share."""

    kind: str
    server: str
    """Its connection string, without a database."""

    @property
    def tuning(self) -> Tuning:
        return TUNINGS[self.kind]

    @property
    def trims(self) -> bool:
        """Whether it trims with each insert, as MongoDB does."""
        return self.kind != "ferretdb"

    @property
    def address(self) -> tuple[str, int]:
        """Of its only, or first, member."""
        first = urlsplit(self.server.partition(",")[0])
        return first.hostname or "localhost", first.port or 27017

    def url(self, name: str = "", options: str = "", address: tuple[str, int] | None = None) -> str:
        """The connection string of a database that nobody has used, or of `name`; by way of a proxy at `address`
        where that is given."""
        kind, _, rest = self.server.partition("://")
        hosts, _, given = rest.partition("?")
        login, at, hosts = hosts.rstrip("/").rpartition("@")
        if address:
            hosts = "{}:{}".format(*address)
            # The driver would learn the members' addresses and go round the proxy; and it would see what a proxy
            # says of the server only when an answer that the server holds back for 10 s is due.
            options += "&directConnection=true&serverMonitoringMode=poll&heartbeatFrequencyMS=500"
        options = "&".join(part for part in (given, options.strip("&")) if part)
        return f"{kind}://{login}{at}{hosts}/{name or fresh_name()}{'?' if options else ''}{options}"

    async def trim(self, database: AsyncDatabase[Document]) -> None:
        """What MongoDB does with each insert FerretDB does when it is asked to: trims `messages` to its `max`."""
        if not self.trims:
            await database.command("compact", "messages")


class Process(ABC):
    """One server process on a port of its own; `kill` and `start` again find the same files."""

    kind = ""

    def __init__(self, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.kind}-"))
        self.port = _free_port()
        self.options = list(options)
        self.process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """How it is started."""

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
        """As a power cut to the process."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)

    def stop(self) -> None:
        """As a person stops it."""
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
    """MongoDB's protocol over WiredTiger, as the only member of a set."""

    kind = "secantusdb"

    def command(self) -> list[str]:
        where = ["--port", str(self.port), "--storage-path", str(self.folder / "data")]
        return [sys.executable, "-m", "secantus", "--log-level", "ERROR", "--cache-size", "64M", *where]


def require_ferretdb() -> None:
    """Skips, or in CI fails, where it was not built."""
    if not BINARY.exists():
        _leave_out("FerretDB is not built: tests/setup.sh builds it where Go 1.24 or newer is installed")


def require_secantusdb() -> None:
    """Skips, or in CI fails, where it is not installed."""
    if importlib.util.find_spec("secantus") is None:
        _leave_out("SecantusDB is not installed: pip install -e '.[dev]' installs it where there is a wheel of it")


def _leave_out(message: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def fresh_name() -> str:
    """A database that nobody has used."""
    return f"roomcast_{uuid.uuid4().hex[:12]}"


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
