"""The arguments of a client are checked by type checkers, and at the call."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roomcast.client import AsyncClient, Client
from roomcast.client.sse import aconnect, connect
from tests.running import PATIENCE

MAKERS: list[Any] = [Client, AsyncClient, connect, aconnect]
BY_MAKER = pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
URL = "http://localhost:8080"
MISSPELT = """
from roomcast.client import AsyncClient, Client
from roomcast.client.sse import aconnect, connect

Client("http://h", hearbeat=5)
AsyncClient("http://h", hearbeat=5)
Client("http://h", max_dealy="5")
Client("http://h", patience="5")
Client("http://h", trust_env="no")
connect("http://h", read_timout=5)
connect("http://h", comments=True, read_timout=5)
aconnect("http://h", retyr=5)
connect("http://h", retry="5")
with Client("http://h") as client:
    client.follow("r", sinse="10m")
    client.publish("r", txt="x")
"""


@BY_MAKER
@pytest.mark.parametrize(
    "url",
    [
        "http://host:99999",
        "http://host:0",
        "http://host:x",
        "http://:8080",
        "http://",
        "host:8080",
        "localhost",
        "ftp://host",
        "http://[::1",
        "http://ho st",
        "http://host\n",
        f"http://{'x' * 70}",
        "",
    ],
)
def test_a_wrong_address_is_refused_at_once(make: Any, url: str) -> None:
    with pytest.raises(ValueError, match="write it as http://localhost:8080"):
        make(url)


@pytest.mark.parametrize(
    "url", [URL, "https://h.example/live/", "http://[::1]:1", "http://bücher.example", "http://u:p@h"]
)
@BY_MAKER
def test_a_right_address_is_taken(make: Any, url: str) -> None:
    assert make(url)


@pytest.mark.parametrize("make", MAKERS[:2])
@pytest.mark.parametrize("url", [f"{URL}/?room=a", f"{URL}#x"])
def test_the_address_of_a_server_has_no_query(make: Any, url: str) -> None:
    with pytest.raises(ValueError, match="leave out"):
        make(url)


@BY_MAKER
@pytest.mark.parametrize(
    "proxy", ["http://proxy:99999", "http://proxy:0", "http://:1", "proxy:3128", "http://[", ""]
)
def test_a_wrong_address_of_a_proxy_is_refused_at_once(make: Any, proxy: str) -> None:
    with pytest.raises(ValueError, match=r"write it as http://proxy\.example:3128"):
        make(URL, proxy=proxy)


def test_the_error_for_an_address_shows_no_password() -> None:
    with pytest.raises(ValueError, match="not the address of a server") as raised:
        Client("http://me:secret@host:99999")
    assert "secret" not in str(raised.value)


@BY_MAKER
@pytest.mark.parametrize(
    ("name", "meant"), [("trustenv", "trust_env"), ("verfiy", "verify"), ("max_dealy", "max_delay")]
)
def test_a_misspelt_option_is_named_with_the_right_one(make: Any, name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"{name} is not an option: did you mean {meant}\\?"):
        make(URL, **{name: 5})


def test_a_misspelt_heartbeat_is_named_with_the_right_one() -> None:
    with pytest.raises(TypeError, match="hearbeat is not an option: did you mean heartbeat\\?"):
        Client(URL, hearbeat=5)  # type: ignore[call-arg]


@BY_MAKER
def test_an_unknown_option_is_refused(make: Any) -> None:
    with pytest.raises(TypeError, match=r"^qwertz is not an option: leave it out$"):
        make(URL, qwertz=5)


def test_a_type_checker_finds_each_mistake(tmp_path: Path) -> None:
    program = tmp_path / "misspelt.py"
    program.write_text(MISSPELT)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=6 * PATIENCE,
    )
    wrong = {int(line.split(":")[1]) for line in checked.stdout.splitlines() if ": error: " in line}
    calls = {
        n for n, line in enumerate(MISSPELT.splitlines(), 1) if '"http://h", ' in line or "    client." in line
    }
    assert wrong == calls, checked.stdout


class Awaitable:
    """An awaitable that is no coroutine, such as a future."""

    def __await__(self) -> Iterator[Any]:
        yield


async def _token() -> str:
    return "token"


@pytest.mark.parametrize("auth", [Awaitable, _token])
def test_a_client_for_threads_refuses_functions_that_must_be_awaited(auth: Any) -> None:
    with Client(auth=auth) as one, pytest.raises(TypeError, match="give it a plain function"):
        one.rooms()
