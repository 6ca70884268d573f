"""Real servers as processes, for tests that observe them from outside."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx

from tests.certificate import Certificate, TlsPort

PATIENCE = 20.0
"""Seconds that a test waits for a state on a busy machine."""


def wait_for(state: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Waits until `state()` is true. Fails after `seconds`, and names `what` it waited for. A look may cost a
    request, so the longer it waits, the less often it looks; a tenth of the time is lost at most."""
    began = time.monotonic()
    while not state():
        waited = time.monotonic() - began
        assert waited < seconds, f"waited {seconds:.0f} s for {what}"
        time.sleep(min(max(0.005, waited / 10), 0.05))


def free_port() -> int:
    """A port of 127.0.0.1 that is free now. Another program may take it before the caller does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


WORKERS = tuple(f"--workers={number}" for number in os.environ.get("ROOMCAST_TEST_WORKERS", "").split())
"""The option that `start_roomcast` gives to each server: `ROOMCAST_TEST_WORKERS=2` runs whole suites with
workers."""


class Running:
    """A server process. `said()` returns its output so far."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        env: Mapping[str, str] | None = None,
        certificate: Certificate | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.folder = folder
        self._certificate = certificate
        self.output = folder / f"server-{time.monotonic_ns()}.txt"
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("ROOMCAST_")}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env={**inherited, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=pass_fds,
            )
        self.port = 0
        self.page_port = 0
        # httpx would load the certificates of all authorities, also for plain HTTP: 50 ms for each server.
        self._client = httpx.Client(timeout=PATIENCE, verify=certificate.context if certificate else False)

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def wait_until_it_says(self, pattern: str) -> re.Match[str]:
        found: list[re.Match[str]] = []

        def look() -> bool:
            if match := re.search(pattern, self.said(), re.MULTILINE):
                found.append(match)
            assert found or self.process.poll() is None, f"the server ended: {self.said()}"
            return bool(found)

        wait_for(look, f"{pattern!r} in:\n{self.said()}")
        return found[0]

    @property
    def url(self) -> str:
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{self.port}"

    def get(self, path: str, **kwargs: object) -> httpx.Response:
        return self._client.get(self.url + path, **kwargs)  # type: ignore[arg-type]

    def publish(self, text: str, room: str = "developers", **fields: object) -> dict[str, object]:
        answer = self.post({"text": text, "room": room, **fields})
        assert answer.status_code == 201, answer.text
        stored = answer.json()
        assert isinstance(stored, dict)
        return stored

    def post(self, body: object, **kwargs: object) -> httpx.Response:
        return self._client.post(f"{self.url}/messages", json=body, **kwargs)  # type: ignore[arg-type]

    def send(self, method: str, path: str, **kwargs: object) -> httpx.Response:
        """Sends a request over the same connection as `get` and `post`."""
        return self._client.request(method, self.url + path, **kwargs)  # type: ignore[arg-type]

    def metric(self, name: str) -> float:
        match = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").text, re.MULTILINE)
        assert match, name
        return float(match[1])

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def end(self) -> None:
        """Ends the server after a test: at once, unless coverage is measured. A killed process leaves no data, so
        then it gets SIGTERM first."""
        if "COVERAGE_PROCESS_CONFIG" in os.environ and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(PATIENCE)
        self.kill()

    def kill(self) -> None:
        self._client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)


def start_roomcast(
    folder: Path,
    *options: str,
    env: Mapping[str, str] | None = None,
    files: int | None = None,
    program: Sequence[str] = ("-m", "roomcast"),
    certificate: Certificate | None = None,
) -> Running:
    """Starts `roomcast serve`, and waits until it listens. By default it has one free port, and a log in SQLite in
    `folder`. `files` limits its open files, `program` are Python's arguments, and with a `certificate` it serves
    TLS."""
    defaults = {"--port": "0", "--page-port": "0", "--log": "sqlite:test.db"}
    for name, value in defaults.items():
        if not any(option.split("=")[0] == name for option in options):
            options = (*options, name, value)
    if not any(option.startswith("--workers") for option in options):
        options = (*options, *WORKERS)
    # A shell sets the limit: Python code between fork and exec can deadlock in a process with threads.
    limited = [] if files is None else ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh"]
    if certificate:
        options = (*options, *certificate.options)
    running = Running([*limited, sys.executable, *program, "serve", *options], folder, env, certificate)
    try:
        match = running.wait_until_it_says(
            r"follow +https?://\S+?:(\d+)/messages[^\n]*\n +look +https?://\S+?:(\d+)/"
        )
    except AssertionError:
        running.kill()  # else it would hold its log, and every later start on it would fail as well
        raise
    ports = int(match[1]), int(match[2])
    running.port, running.page_port = (TlsPort.of(p, certificate) if certificate else p for p in ports)
    return running


def start_uvicorn(folder: Path, app: str, *options: str, env: Mapping[str, str] | None = None) -> Running:
    """Starts a program that mounts roomcast, under plain uvicorn, and waits until it listens."""
    command = [sys.executable, "-m", "uvicorn", app, "--port", "0", *options]
    running = Running(command, folder, env)
    running.port = int(running.wait_until_it_says(r"running on http://\S+?:(\d+)")[1])
    return running
