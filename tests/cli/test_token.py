"""`roomcast token`, and `rights check` for tokens."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from roomcast.auth.rights import ConfiguredRights
from roomcast.auth.secrets import Secrets
from roomcast.auth.tokens.issuer import of_secrets
from roomcast.auth.tokens.issuers import Issuers
from tests.auth.signing import pem
from tests.auth.signing import token as signed
from tests.cli.shell import run

SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text(SECRET)
    (tmp_path / "key.pem").write_bytes(pem("ES256", "cli"))
    file = tmp_path / "roomcast.toml"
    file.write_text(
        f'secret_files = ["{tmp_path}/secret"]\n\n[[issuer]]\niss = "https://a.example"\n'
        f'public_keys = ["{tmp_path}/key.pem"]\nread = ["user/{{sub}}"]\n'
    )
    return file


def test_a_token_is_signed_with_the_servers_secret_and_printed_alone(config: Path) -> None:
    asked = ["--sub=42", "--read=user/42", "--read=team/7/*", "--publish=chat/7", "--user=u", "--for=15m"]
    done = run("token", *asked, ROOMCAST_CONFIG=str(config))
    assert (done.returncode, done.stderr) == (0, "")
    secrets = Secrets.of_text(SECRET, "the secret")
    holder = ConfiguredRights(issuers=Issuers([], of_secrets(secrets))).identify(done.stdout.strip(), time.time())
    assert (holder.sub, holder.user) == ("42", "u")
    assert (holder.read.texts(), holder.publish.texts()) == (["team/7/*", "user/42"], ["chat/7"])
    assert holder.until == pytest.approx(time.time() + 930, abs=20)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["--sub=42"], "there is no secret to sign with: give --secret-file"),
        (["--sub=42", "--secret-file=gone"], "cannot be read"),
        (["--sub="], "1 to 128 characters"),
        (["--sub=42", "--read=$x"], "must be a room"),
        (["--sub=42", "--for=31d"], "must be a time from 1s to 30d"),
        ([], "Missing option '--sub'"),
    ],
)
def test_a_token_that_would_be_refused_is_not_signed(asked: list[str], words: str) -> None:
    done = run("token", *asked)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in " ".join(done.stderr.split())


def test_rights_check_shows_the_rights_of_a_token_and_the_line(config: Path) -> None:
    own = run("token", "--sub=42", "--read=user/42", ROOMCAST_CONFIG=str(config)).stdout.strip()
    now = time.time()
    by_issuer = signed({"iss": "https://a.example", "sub": "7", "exp": now + 900}, "ES256", name="cli")
    expired = signed({"iss": "https://a.example", "sub": "7", "exp": now - 900}, "ES256", name="cli")
    asked = {
        (own, "user/42"): (0, "allowed: PATH, line 1: the secret: its token for 42 may read 'user/42'"),
        (by_issuer, "user/7"): (
            0,
            "allowed: PATH, line 6: [[issuer]] https://a.example: its token for 7 may read 'user/7'",
        ),
        (expired, "user/7"): (1, "refused: expired: bad token: it has expired"),
    }
    for (text, room), (status, words) in asked.items():
        done = run("rights", "check", f"--config={config}", "--as", text, f"--read={room}")
        assert done.returncode == status, done.stderr
        assert done.stdout.startswith(words.replace("PATH", str(config))), done.stdout
    listed = run("rights", "check", f"--config={config}").stdout
    assert "line 3: [[issuer]] https://a.example: its tokens may read 'user/{sub}'; publish nothing" in listed


def test_rights_check_reports_that_the_keys_cannot_be_fetched(tmp_path: Path) -> None:
    (tmp_path / "roomcast.toml").write_text('[[issuer]]\njwks = "http://127.0.0.1:1/jwks"\n')
    text = signed({"sub": "7", "exp": time.time() + 900}, "ES256", name="cli")
    done = run("rights", "check", f"--config={tmp_path}/roomcast.toml", "--as", text, "--read=a")
    assert (done.returncode, done.stdout) == (
        1,
        "refused: try again: this token cannot be verified now: "
        "its issuer's keys cannot be fetched, or lack its key\n",
    )
