"""Servers that need a credential, a key for them, and the tickets that the key gets."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx

from roomcast.auth.keys import new_key, sha256
from tests.auth import signing
from tests.running import Running, start_roomcast, wait_for

_PROGRAM = """
import time
now = time.time
time.time = lambda: now() + {later}
import roomcast.auth.tickets as tickets
import roomcast.auth.tokens.checks as checks
import roomcast.delivery.stream as stream
checks.LEEWAY_SECONDS = tickets.LEEWAY_SECONDS = 0
stream._RENEWAL_MS = (100, 300)
from roomcast.cli.main import main
main(prog_name="roomcast")
"""


def hasty(later: int = 0) -> tuple[str, str]:
    """Python's arguments to run `roomcast` with credentials that expire without leeway, and clients that come back
    at once with new ones. Its clock is `later` seconds fast."""
    return "-c", _PROGRAM.format(later=later)


OFTEN = ("--heartbeat", "1")
"""The server looks every 0.2 s for streams whose right has expired."""


class Backend:
    """An application that has a key and gives its pages tickets."""

    def __init__(self, folder: Path, origin: str) -> None:
        self.key = new_key("shop")
        self._folder = folder
        self._origin = origin
        self._servers: list[Running] = []
        self._secret = new_key("secret")
        self._set_up(folder)

    def serve(self, *options: str, port: int = 0, folder: Path | None = None, later: int = 0) -> Running:
        """Starts a server with these rights. `folder` gets a copy of the files, as on another machine. The
        server's clock is `later` seconds fast."""
        if folder:
            self._set_up(folder)
        given = ("--config", "rights.toml", "--allow-origin", self._origin, "--port", str(port))
        log = ("--log", f"sqlite:{self._folder / 'test.db'}")
        program = hasty(later)
        server = start_roomcast(folder or self._folder, *given, *log, *OFTEN, *options, program=program)
        self._servers.append(server)
        return server

    def ticket(self, server: Running, *rooms: str, seconds: int = 3600, **fields: object) -> str:
        """The URL of a stream with a new ticket that is valid for `seconds`."""
        asked = {"rooms": rooms, "seconds": seconds, **fields}
        answer = server.send("POST", "/tickets", json=asked, headers=self.headers)
        assert answer.status_code == 201, answer.text
        url = answer.json()["url"]
        assert isinstance(url, str)
        return server.url + url

    def token(self, *rooms: str, seconds: int) -> str:
        """A token that is valid for `seconds`, signed with the servers' secret."""
        claims = {"sub": "42", "exp": time.time() + seconds, "roomcast": {"read": rooms}}
        return signing.token(claims, key=self._secret.encode())

    def publish(self, server: Running, text: str, room: str = "user/42") -> str:
        answer = server.post({"room": room, "text": text}, headers=self.headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def metrics(self, server: Running) -> str:
        return server.get("/metrics", headers=self.headers).text

    def expired(self, server: Running) -> int:
        """The number of streams that the server has ended because their right had expired, from its metrics."""
        [number] = re.findall(
            r'^roomcast_streams_ended_total\{reason="expired"\} (\d+)', self.metrics(server), re.M
        )
        return int(number)

    def empty(self) -> Running:
        """The shared server, without rooms and followers."""
        if not self._servers:
            return self.serve()
        [server] = self._servers
        wait_for(lambda: "\nroomcast_followers 0" in self.metrics(server), "the end of the last test's streams")
        for row in server.get("/rooms", headers=self.headers).json()["rooms"]:
            server.send("DELETE", f"/rooms/{row['room']}", headers=self.headers).raise_for_status()
        return server

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def close(self) -> None:
        for server in self._servers:
            server.kill()

    def _set_up(self, folder: Path) -> None:
        (folder / "secret").write_text(self._secret)
        (folder / "rights.toml").write_text(
            'secret_files = ["secret"]\nanonymous = { read = ["public/*"] }\n\n[[key]]\nname = "shop"\n'
            f'sha256 = "{sha256(self.key)}"\nread = ["*"]\npublish = ["*"]\nmetrics = true\nadmin = true\n'
        )


def ticket_of(url: str) -> str:
    """The ticket in a URL, for use in a header."""
    return httpx.URL(url).params["ticket"]
