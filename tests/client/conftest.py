"""Fixtures: scripted servers, recorders and clients. All of them end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from roomcast.auth.keys import sha256
from tests import hasty
from tests.client.scripted import CLIENTS, EventRecorder, ScriptedServer
from tests.running import Running, start_roomcast

Listen = Callable[..., EventRecorder]
MakeClient = Callable[..., Any]
KEY = "rck_shop_" + 43 * "k"


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    scripted = ScriptedServer()
    yield scripted
    scripted.close()


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    """The client under test: `sync` or `async`."""
    return str(request.param)


@pytest.fixture
def listen(kind: str, scripted: ScriptedServer) -> Iterator[Listen]:
    """Starts recorders that follow the scripted server, with the options of `connect`."""
    listening: list[EventRecorder] = []

    def start(url: str = scripted.url, **options: Any) -> EventRecorder:
        listening.append(EventRecorder(kind, url, **options))
        return listening[-1]

    yield start
    for recorder in listening:
        recorder.close()


@pytest.fixture
def client(kind: str) -> Iterator[MakeClient]:
    """Makes a `Client`, or an `AsyncClient` that is called like one."""
    made: list[Any] = []

    def make(*args: Any, **options: Any) -> Any:
        made.append(CLIENTS[kind](*args, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Running]:
    """A server with rights, on which a ticket ends exactly when it says."""
    (tmp_path / "secret").write_text("0123456789abcdefghijklmnopqrstuvwxyz")
    (tmp_path / "roomcast.toml").write_text(
        f'secret_files = ["{tmp_path / "secret"}"]\n[[key]]\nname = "shop"\nsha256 = "{sha256(KEY)}"\n'
        'read = ["*"]\npublish = ["orders", "news"]\n'
    )
    server = start_roomcast(
        tmp_path, "--config", str(tmp_path / "roomcast.toml"), "--log", "memory:", program=hasty.PROGRAM
    )
    yield server
    server.end()
