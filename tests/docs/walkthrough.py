"""Follows a page of the docs as its reader would: runs each block, or writes it to the file that it is.

A comment before a block, invisible to readers, says how to treat it:

    <!-- file: shop.py -->          the block is the content of this file
    <!-- until 8080 listens -->     the command goes on running; the next block waits for this port
    <!-- shows: some text -->       the command's output contains this
    <!-- fails: 1 -->               the exit status, if it is not 0
    <!-- not run: why -->           the block is neither run nor written

A comment anywhere on the page says what the reader has already:

    <!-- server: --open -->         a running roomcast serve with these options, on port 8080
    <!-- in a clone -->             the folder has the files of a clone

Each port that a page names is replaced by a free one, and /var/backups by a folder of the test. `curl -N` ends by
itself after a second."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.conftest import require
from tests.running import PATIENCE, free_port, wait_for

_ROOT = Path(__file__).parents[2]
PORTS = re.compile(r"\b(8080|3000|8000|8443|8888)\b")
RUN = {"sh": "bash", "py": "python", "js": "node", "php": "php", "go": "go"}
_COMMENT = r"<!-- ((?:(?! -->).)*) -->\n\s*"
_BLOCK = re.compile(rf"^((?:{_COMMENT})*)```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CURL = """#!/bin/sh
seconds=10
for word; do [ "$word" = -N ] && seconds=1; done
{curl} --silent --show-error --max-time $seconds "$@" || [ $? = 28 -a $seconds = 1 ]
"""


class Block(NamedTuple):
    """A fenced block, and the comments before it: the texts after the colon, by the word before it."""

    language: str
    text: str
    comments: dict[str, list[str]]

    @property
    def is_covered(self) -> bool:
        """Whether the block is run or written, or a comment says why not."""
        return self.language in RUN or bool(self.comments.keys() & {"file", "not run"})


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for before, _, language, text in _BLOCK.findall(page.read_text()):
        comments: dict[str, list[str]] = {}
        for comment in re.findall(_COMMENT, before):
            word, _, rest = comment.partition(": ")
            comments.setdefault(word, []).append(rest)
        yield Block(language, text, comments)


class Walkthrough:
    """Runs a page in a folder of its own. Processes that the page starts run until the end, or until `end`."""

    def __init__(self, page: Path, folder: Path) -> None:
        self._page = page
        self.folder = folder
        self._ports: dict[str, str] = {}
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._bin = folder / ".bin"

    def __enter__(self) -> Self:
        self._bin.mkdir()
        python = shlex.quote(sys.executable)
        self._program("roomcast", f'#!/bin/sh\nexec {python} -m roomcast "$@"\n')
        self._program("uvicorn", f'#!/bin/sh\nexec {python} -m uvicorn "$@"\n')
        for name in ("python", "python3"):
            self._program(name, f'#!/bin/sh\nexec {python} "$@"\n')
        self._program("curl", _CURL.format(curl=shlex.quote(require("curl"))))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        while self._running:
            self._end(self._running.pop()[1], signal.SIGTERM)

    def end(self, command: str, by: signal.Signals = signal.SIGTERM) -> None:
        """Ends the processes of blocks that contain `command`, with the signal `by`."""
        for started in [started for started in self._running if command in started[0]]:
            self._running.remove(started)
            self._end(started[1], by)

    def _end(self, process: subprocess.Popen[bytes], by: signal.Signals) -> None:
        """Ends the shell and every process that it started."""
        for number in (by, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)

    def run(self) -> None:
        """Runs the whole page, in order."""
        if "<!-- in a clone -->" in self._page.read_text():
            for name in ("deploy", "examples", "requirements"):
                (self.folder / name).symlink_to(_ROOT / name)
        for options in re.findall(r"<!-- server: (.*?) -->", self._page.read_text()):
            self.start(f"roomcast serve --page-port 0 {options}", "8080")
        for block in blocks(self._page):
            self._treat(block)

    def _treat(self, block: Block) -> None:
        (self.folder / "backups").mkdir(exist_ok=True)
        text = self.with_ports(block.text).replace("/var/backups", str(self.folder / "backups"))
        until = [word.split()[1] for word in block.comments if word.startswith("until ")]
        if block.comments.keys() & {"not run"} or not block.is_covered:
            return
        if names := block.comments.get("file"):
            (self.folder / names[0]).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / names[0]).write_text(text)
        elif until:
            self.start(text, until[0])
        else:
            self._run(block, text)

    def port(self, written: str) -> int:
        """The free port that replaces `written`, a port that the page names."""
        if written not in self._ports:
            self._ports[written] = str(free_port())
        return int(self._ports[written])

    def with_ports(self, text: str) -> str:
        return PORTS.sub(lambda found: str(self.port(found[1])), text)

    def _run(self, block: Block, text: str) -> None:
        if block.language == "sh":
            command = ["bash", "-e", "-c", text]
        else:
            file = self.folder / f"block.{'mjs' if block.language == 'js' else block.language}"
            file.write_text(text)
            command = [RUN[block.language], *(["run"] if block.language == "go" else []), file.name]
        done = subprocess.run(
            command, cwd=self.folder, env=self._env(), capture_output=True, text=True, timeout=60, check=False
        )
        output = done.stdout + done.stderr
        assert done.returncode == int(block.comments.get("fails", ["0"])[0]), (text, output, self.output())
        for expected in block.comments.get("shows", []):
            assert self.with_ports(expected) in output, (text, output, self.output())

    def start(self, text: str, port: str) -> None:
        """Starts a command that goes on running, and waits until it listens on `port`, as the page names it."""
        with (self.folder / f"output-{time.monotonic_ns()}.txt").open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-e", "-c", self.with_ports(text)],
                cwd=self.folder,
                env=self._env(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append((text, process))

        def listens() -> bool:
            assert process.poll() is None, (text, self.output())
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", self.port(port))) == 0

        wait_for(listens, f"port {port} of {text}")

    def output(self) -> str:
        """The output of all started processes so far."""
        return "\n".join(file.read_text(errors="replace") for file in sorted(self.folder.glob("output-*.txt")))

    def _env(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ROOMCAST_")}
        return {
            **inherited,
            "PATH": f"{self._bin}:{os.environ['PATH']}:/usr/sbin",
            "ROOMCAST_PORT": str(self.port("8080")),
            "ROOMCAST_PAGE_PORT": str(self.port("3000")),
            "ROOMCAST_URL": f"http://localhost:{self.port('8080')}",
        }

    def _program(self, name: str, text: str) -> None:
        (self._bin / name).write_text(text)
        (self._bin / name).chmod(0o755)
