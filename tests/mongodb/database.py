"""A database for the tests: FerretDB in place of MongoDB, or the server that ROOMCAST_TEST_MONGODB names."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest

from roomcast.log.mongodb.opening import Document, Tuning
from tests.running import PATIENCE, wait_for

from pymongo.asynchronous.cursor import AsyncCursor  # isort: skip
from pymongo.asynchronous.database import AsyncDatabase  # isort: skip

BINARY = Path(__file__).parent / "build" / "ferretdb"
REAL = os.environ.get("ROOMCAST_TEST_MONGODB", "")
"""The connection string of a real server, without a database."""


def widen(cursor: AsyncCursor[Document]) -> None:
    """FerretDB ends a cursor whose first batch is not full, and takes 10 ms for each further one."""
    cursor._batch_size = 1_000


TUNING = (
    Tuning(look_seconds=0.3)
    if REAL
    # A shorter wait makes FerretDB repeat and lose what it brings.
    else Tuning(await_ms=5_000, look_seconds=0.3, first_batch=1, opened=widen)
)


class FerretDB:
    """One server process on a port of its own; `kill` and `start` again find the same files."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ferretdb-"))
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [str(BINARY), f"127.0.0.1:{self.port}", str(self.folder)]
        with (self.folder / "log.txt").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        wait_for(self._answers, "FerretDB to listen")

    def kill(self) -> None:
        """As a power cut to the process."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.folder / "log.txt").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


async def compact(database: AsyncDatabase[Document]) -> None:
    """What MongoDB does with each insert FerretDB does when it is asked to: trims `messages` to its `max`."""
    if not REAL:
        await database.command("compact", "messages")


def require_ferretdb() -> None:
    """Skips, or in CI fails, where it was not built."""
    if BINARY.exists():
        return
    message = "FerretDB is not built: tests/setup.sh builds it where Go 1.24 or newer is installed"
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
