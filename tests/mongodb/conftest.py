"""Fixtures for databases that a test may kill, and for servers on them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mongodb.database import REAL, SERVERS, FerretDB, MongoDB, require_ferretdb
from tests.running import Running

ROOT = Path(__file__).parents[2]
Serve = Callable[..., Running]


@pytest.fixture
def database() -> Iterator[FerretDB]:
    """A running database server for this test alone."""
    if REAL:
        pytest.skip("this test ends its database server")
    require_ferretdb()
    server = FerretDB()
    server.start()
    yield server
    server.remove()


@pytest.fixture
def url(mongo: MongoDB) -> str:
    """A new database on the server that the tests share."""
    return mongo.url()


@pytest.fixture
def serve_on(tmp_path: Path) -> Iterator[Serve]:
    """A function that starts a server on a connection string. All servers end with the test."""
    running: list[Running] = []

    def start(url: str, *options: str, patience: float = 10, kind: str = SERVERS[0]) -> Running:
        command = [sys.executable, "-m", "tests.mongodb.serve", "serve", "--port", "0", "--page-port", "0"]
        # From the repository's root, as it runs a module of the tests.
        env = {
            "PYTHONPATH": f"{ROOT}/src:{ROOT}",
            "ROOMCAST_TEST_PATIENCE": str(patience),
            "ROOMCAST_TEST_SERVER": kind,
        }
        server = Running([*command, "--log", url, *options], tmp_path, env)
        running.append(server)
        match = server.wait_until_it_says(r"follow +http://\S+?:(\d+)/messages")
        server.port = int(match[1])
        return server

    yield start
    for server in running:
        server.kill()
