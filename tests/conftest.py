"""Fixtures for all tests. In CI nothing is left out: what is missing there is a failure, not a skip."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.certificate import Certificate
from tests.mongodb.database import REAL, FerretDB, require_ferretdb
from tests.running import Running, start_roomcast

Serve = Callable[..., Running]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in whatever a script starts in the background (POSIX, Shell Command Language, 2.11): so would all that is
    # started here, and Ctrl-C is what some tests are about.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts `roomcast serve` with options; every server is ended with the test."""
    running: list[Running] = []

    def start(
        *options: str, env: Mapping[str, str] | None = None, certificate: Certificate | None = None
    ) -> Running:
        running.append(start_roomcast(tmp_path, *options, env=env, certificate=certificate))
        return running[-1]

    yield start
    for server in running:
        server.kill()


@pytest.fixture
def server(serve: Serve) -> Running:
    """A server as it is by default."""
    return serve()


@pytest.fixture(scope="session")
def mongodb_url() -> Iterator[str]:
    """A MongoDB server, without a database: FerretDB, or the one that ROOMCAST_TEST_MONGODB names."""
    if REAL:
        yield REAL
        return
    require_ferretdb()
    server = FerretDB()
    server.start()
    yield server.url
    server.remove()


def require(program: str) -> str:
    """The path of a program that a test needs."""
    found = shutil.which(program)
    if found is None:
        message = f"{program} is not installed: apt-get install {program}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found
