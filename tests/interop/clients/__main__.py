"""Tries other people's clients: `python -m tests.interop.clients FOLDER [CLIENT…]`. Installs each from its
registry into FOLDER, and prints the facts behind docs/clients.md, one line of JSON for each client."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tests.interop.clients import go, java, rust
from tests.running import Running, start_roomcast

HERE = Path(__file__).parent
TEXTS = ["grüße Å 入 ✅ \u2028", "typed", "away"]
PATIENCE = 25.0
"""Seconds until a client is back. A server that ends asks for up to 10 s, and some clients double that."""


class Client(NamedTuple):
    """A client to try."""

    name: str
    package: str
    """The package's name in its registry, with the version if it is an older one."""
    command: Callable[[Path, str], list[str]]


def python(name: str, *packages: str) -> Client:
    """A client from PyPI, in an environment of its own, since two of them have the same module name."""

    def command(folder: Path, url: str) -> list[str]:
        place = folder / name
        if not place.exists():
            venv.create(place, with_pip=True)
            subprocess.run([place / "bin/pip", "install", "--quiet", name, *packages], check=True)
        return [str(place / "bin/python"), str(HERE / "follow.py"), name, url]

    return Client(name, name, command)


def node(package: str, name: str = "") -> Client:
    """A client from npm."""
    name = name or package[0] + package[1:].partition("@")[0]

    def command(folder: Path, url: str) -> list[str]:
        place = folder / package.replace("/", "-")
        if not place.exists():
            place.mkdir(parents=True)
            subprocess.run(["npm", "install", "--silent", "--prefix", str(place), package], check=True)
        return ["node", str(HERE / "follow.mjs"), name, url, str(place)]

    return Client(name if "," in name else package, package, command)


CLIENTS = [
    python("httpx-sse", "httpx"),
    python("requests"),
    python("sseclient-py", "requests"),
    python("sseclient"),
    python("aiohttp-sse-client"),
    python("launchdarkly-eventsource"),
    node("eventsource@2"),
    node("eventsource@3"),
    node("eventsource@4"),
    node("event-source-polyfill"),
    node("event-source-polyfill", "event-source-polyfill, last_event_id"),
    node("@microsoft/fetch-event-source"),
    node("@microsoft/fetch-event-source", "@microsoft/fetch-event-source, onclose throws"),
    node("eventsource-parser"),
    node("eventsource-client"),
    *(Client(name, name, command) for name, command in (go.COMMANDS | java.COMMANDS | rust.COMMANDS).items()),
]


def attempt(client: Client, folder: Path, end: Callable[[Running], object]) -> dict[str, object]:
    """Follows while the server is ended with `end` and started again. Returns what the client reported."""
    with tempfile.TemporaryDirectory() as place:
        where = Path(place)
        server = start_roomcast(where)
        port = server.port
        server.publish(TEXTS[0])
        program = Running(client.command(folder, f"{server.url}/messages?room=developers"), where)
        try:
            server_seen = _until(program, 1)
            server.publish(TEXTS[1], type="order.paid", data={"order": 7})
            server_seen = _until(program, 2) and server_seen
            end(server)
            server = start_roomcast(where, f"--port={port}")
            server.publish(TEXTS[2])
            again = _until(program, 3)
            ended = program.process.poll()
            rows = _rows(program)
            found = [text for _, _, data in rows if (text := _text(data)) is not None]
            empty = sum(not data for _, _, data in rows)
            errors = [line for line in program.said().splitlines() if not line.startswith("[")][-1:]
            return {
                "reads": server_seen,
                "letters": TEXTS[0] in found,
                "comes back": again,
                "exact": found == TEXTS,
                "empty events": empty,
                "ended": ended,
                "said": errors,
            }
        finally:
            program.kill()
            server.kill()


def _until(program: Running, count: int) -> bool:
    """Waits until the program has printed `count` messages; false if it ended before."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        ended = program.process.poll() is not None
        if sum('\\"text\\"' in line for line in program.said().splitlines()) >= count:
            return True
        if ended:
            return False
        time.sleep(0.05)
    return False


def _text(data: str) -> str | None:
    """The text of a message; the data itself if its JSON is broken; None if it is no message."""
    try:
        said = json.loads(data or "{}").get("text")
    except ValueError:
        return "broken"
    return None if said is None else str(said)


def _rows(program: Running) -> list[list[str]]:
    return [json.loads(line) for line in program.said().splitlines() if line.startswith("[")]


def _kill(server: Running) -> None:
    server.process.kill()
    server.process.wait()


def main(folder: Path, names: list[str]) -> None:
    """Tries all clients, or those whose names begin with one of `names`."""
    for client in CLIENTS:
        if names and not any(client.name.startswith(name) for name in names):
            continue
        clean = attempt(client, folder, Running.terminate)
        cut = attempt(client, folder, _kill)
        print(json.dumps({"client": client.name, "clean end": clean, "cut": cut}, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), sys.argv[2:])
