"""The states that a server reports to systemd, received on a socket of our own."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomcast.serve import systemd
from tests.conftest import Serve
from tests.running import PATIENCE


class Supervisor:
    """The other end of `NOTIFY_SOCKET`."""

    def __init__(self, address: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(PATIENCE)

    def next(self) -> str:
        return self._socket.recv(4096).decode()

    def next_but_alive(self) -> str:
        while (state := self.next()) == "WATCHDOG=1":
            pass
        return state

    def has_more(self) -> bool:
        self._socket.setblocking(False)
        try:
            return bool(self.next())
        except BlockingIOError:
            return False

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(str(tmp_path / "notify"))
    yield supervisor
    supervisor.close()


def test_a_server_says_that_it_is_ready_alive_reloading_and_stopping(
    serve: Serve, supervisor: Supervisor, tmp_path: Path
) -> None:
    server = serve(env={"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "500000"})
    assert supervisor.next_but_alive() == "READY=1"
    assert [supervisor.next() for _ in range(3)] == ["WATCHDOG=1"] * 3
    server.process.send_signal(signal.SIGHUP)
    reloading, _, when = supervisor.next_but_alive().partition("\nMONOTONIC_USEC=")
    assert reloading == "RELOADING=1"
    assert when.isdecimal()
    assert supervisor.next_but_alive() == "READY=1"
    server.process.send_signal(signal.SIGTERM)
    assert supervisor.next_but_alive() == "STOPPING=1"
    assert server.process.wait(PATIENCE) == 0


async def test_an_abstract_socket_gets_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    supervisor = Supervisor(f"\0roomcast-{os.getpid()}")
    monkeypatch.setenv("NOTIFY_SOCKET", f"@roomcast-{os.getpid()}")
    await systemd.tell(systemd.READY)
    assert supervisor.next() == "READY=1"
    supervisor.close()


async def test_a_supervisor_that_is_away_or_reads_nothing_does_no_harm(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(systemd, "_PATIENCE", 0.001)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    await systemd.tell(systemd.READY)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    for _ in range(1000):  # many more than its queue holds
        await systemd.tell(systemd.READY)


async def test_a_supervisor_that_is_behind_gets_every_state_but_repeated_watchdog_messages(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its queue is full of watchdog messages. A state that is sent only once waits for room."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setattr(systemd, "_PATIENCE", PATIENCE)
    for _ in range(1000):
        systemd.notify(systemd.ALIVE)
    telling = asyncio.create_task(systemd.tell(systemd.READY))
    assert await asyncio.to_thread(supervisor.next_but_alive) == "READY=1"
    await telling


@pytest.mark.parametrize(
    "variables",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}],
)
async def test_a_watchdog_that_is_not_for_us_is_not_fed(
    variables: dict[str, str], supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {"NOTIFY_SOCKET": str(tmp_path / "notify"), **variables}.items():
        monkeypatch.setenv(name, value)
    async with asyncio.timeout(PATIENCE):
        await systemd.feed_watchdog()
    assert not supervisor.has_more()
