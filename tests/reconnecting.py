"""A client over curl that reconnects by itself, as an EventSource does: HTTP/1.1 and 2, with TLS and without."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

from tests.conftest import require
from tests.running import PATIENCE

EVENTS, ROWS = "text/event-stream", "application/x-ndjson"


class Follower(threading.Thread):
    """An impatient EventSource: it reconnects at once after each `200` and after a connection that broke. Any
    other status ends it."""

    def __init__(self, url: str, accept: str, *options: str) -> None:
        super().__init__(daemon=True)
        self.heard: list[str] = []
        self.names: list[str] = []
        """The names of the events that are no messages."""
        self.versions: set[str] = set()
        self.failure = ""
        self._command = [require("curl"), "-siNk", "--max-time", "60", *options, url]
        self._command += ["-H", f"Accept: {accept}", "-H", "Accept-Encoding: gzip"]
        self._read = self._row if accept == ROWS else self._field
        self._id = self._name = self._pending = ""
        self._over = threading.Event()
        self._curl: subprocess.Popen[str] | None = None
        self.start()

    def run(self) -> None:
        while not self._over.is_set() and not self.failure:
            resumed = ["-H", f"Last-Event-ID: {self._id}"] if self._id else []
            with subprocess.Popen([*self._command, *resumed], stdout=subprocess.PIPE, text=True) as self._curl:
                assert self._curl.stdout
                self._follow(iter(self._curl.stdout))
            self._over.wait(0.3)

    def _follow(self, lines: Iterator[str]) -> None:
        head = next(lines, "")
        if not head:
            return  # cut before an answer: an EventSource reconnects
        version, status = head.split()[:2]
        self.versions.add(version)
        if status != "200":
            self.failure = head
        for line in lines:
            if not line.strip():
                break
        self._name = ""
        for line in lines:
            self._read(line.rstrip("\n"))

    def _field(self, line: str) -> None:
        field, _, value = line.partition(": ")
        if field == "id":
            self._pending = value
        elif field == "event":
            self._name = value
        elif field == "data":
            self._take(self._name or "message", self._pending, json.loads(value))
            self._name = ""

    def _row(self, line: str) -> None:
        if line and (row := json.loads(line))["event"] != "retry":
            self._take(row["event"], row["id"], row["data"])

    def _take(self, name: str, id: str, data: Any) -> None:
        self._id = id
        if name == "message":
            self.heard.append(data["text"])
        else:
            self.names.append(name)

    def stop(self) -> None:
        self._over.set()
        if self._curl:
            self._curl.terminate()
        self.join(PATIENCE)
