"""Fixtures for all tests. In CI a missing program is a failure, elsewhere a skip."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from tests.certificate import Certificate
from tests.mongodb.database import (
    REAL,
    SERVERS,
    FerretDB,
    MongoDB,
    SecantusDB,
    require_ferretdb,
    require_secantusdb,
)
from tests.postgresql.database import QUICK, Cluster
from tests.running import WORKERS, Running, start_roomcast
from tests.workers import ONE_PROCESS

Serve = Callable[..., Running]

settings.register_profile("untimed", deadline=None)  # an example may take longer on a busy machine
settings.load_profile("untimed")

# The tests start hundreds of servers and commands. Without cached bytecode each of them compiles all modules of
# roomcast again, which takes longer than everything else that it does.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell lets the background jobs of a script ignore SIGINT (POSIX, Shell Command Language, 2.11). The servers
    # would inherit that, and some tests send them Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that uses `one_or_two_workers` runs twice, unless ROOMCAST_TEST_WORKERS decides."""
    if "one_or_two_workers" in metafunc.fixturenames:
        names: dict[str, Sequence[str]] = {"one process": (), "two workers": ("--workers=2",)}
        if WORKERS:
            names = {"workers": WORKERS}
        metafunc.parametrize("one_or_two_workers", [*names.values()], ids=[*names], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips the tests that cannot hold with workers, if all servers have workers."""
    for item in items if WORKERS else []:
        if why := ONE_PROCESS.get(item.nodeid.partition("[")[0].removeprefix("tests/")):
            item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture
def one_or_two_workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All servers of the test have one process; in its second run they have two workers."""
    monkeypatch.setattr("tests.running.WORKERS", request.param)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts `roomcast serve` with options. Every server ends with the test."""
    running: list[Running] = []

    def start(
        *options: str, env: Mapping[str, str] | None = None, certificate: Certificate | None = None
    ) -> Running:
        running.append(start_roomcast(tmp_path, *options, env=env, certificate=certificate))
        return running[-1]

    yield start
    for server in running:
        server.end()


@pytest.fixture
def server(serve: Serve) -> Running:
    """A server with default options."""
    return serve()


@pytest.fixture(scope="session")
def mongodb() -> MongoDB:
    """The server that ROOMCAST_TEST_MONGODB names."""
    return MongoDB("mongodb", REAL)


@pytest.fixture(scope="session")
def ferretdb() -> Iterator[MongoDB]:
    require_ferretdb()
    server = FerretDB()
    server.start()
    yield server.shared
    server.remove()


@pytest.fixture(scope="session")
def secantusdb() -> Iterator[MongoDB]:
    require_secantusdb()
    server = SecantusDB()
    server.start()
    yield server.shared
    server.remove()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """A cluster that all tests share; each test makes a database of its own."""
    cluster = Cluster(None, **QUICK)
    cluster.make()
    cluster.start()
    yield cluster
    cluster.remove()


@pytest.fixture
def mongo(request: pytest.FixtureRequest) -> MongoDB:
    """A server that speaks MongoDB's protocol: the first of `SERVERS`, or each if the test parametrizes
    `mongo`."""
    found: MongoDB = request.getfixturevalue(getattr(request, "param", SERVERS[0]))
    return found


def require(program: str) -> str:
    """The path of a program that a test needs."""
    found = shutil.which(program)
    if found is None:
        message = f"{program} is not installed: apt-get install {program}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found
