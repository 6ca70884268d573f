"""`roomcast revoke`."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from roomcast.auth.keys import grantor_of, sha256
from roomcast.auth.secrets import Secrets
from roomcast.auth.tickets import seal
from roomcast.model.settings.key import Key
from tests.cli.shell import run
from tests.conftest import Serve
from tests.running import Running

SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"
WRITER, ADMIN = "rck_writer_one", "rck_admin_two"


@pytest.fixture
def server(serve: Serve, tmp_path: Path) -> Running:
    (tmp_path / "secret").write_text(SECRET)
    rows = [
        f'[[key]]\nname = "writer"\nsha256 = "{sha256(WRITER)}"\nread = ["*"]\npublish = ["*"]\n',
        f'[[key]]\nname = "admin"\nsha256 = "{sha256(ADMIN)}"\nadmin = true\n',
    ]
    (tmp_path / "rights.toml").write_text("".join(rows))
    return serve("--config", str(tmp_path / "rights.toml"), "--secret-file", str(tmp_path / "secret"))


def test_revoke_ends_a_persons_credentials(server: Running) -> None:
    by = grantor_of(Key(name="writer", sha256=sha256(WRITER), read=("*",)))
    secrets, then = Secrets.of_text(SECRET, "the secret"), time.time() - 5
    ticket = seal(secrets, by, rooms=["a"], sub="42", now=then, seconds=60)

    def status() -> int:
        headers = {"Authorization": f"Bearer {ticket}", "Accept": "application/json"}
        return server.get("/messages?room=a", headers=headers).status_code

    for arguments in (("43",), ("42", "--iss", "https://a"), ("42", "--before", "2026-01-01T00:00:00Z")):
        done = run("revoke", *arguments, url=server.url, ROOMCAST_TOKEN=ADMIN)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert status() == 200
    refused = run("revoke", "42", url=server.url, ROOMCAST_TOKEN=WRITER)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert status() == 200
    assert run("revoke", "42", url=server.url, ROOMCAST_TOKEN=ADMIN).returncode == 0
    assert status() == 401
    wrong = run("revoke", "42", "--before", "yesterday", url=server.url, ROOMCAST_TOKEN=ADMIN)
    assert wrong.returncode == 1
    assert "RFC 3339" in wrong.stderr
