"""Keys and tickets for a server under test, a different one for each request."""

from __future__ import annotations

import time
from pathlib import Path

from roomcast.auth.keys import grantor_of, sha256
from roomcast.auth.secrets import Secrets
from roomcast.auth.tickets import seal
from roomcast.model.settings.key import Key

KEYS = 1_000
ROOM = "room0"
"""The load generator's first room, and here its only one."""
_SECRET = "0123456789abcdefghijklmnopqrstuvwxyz"
_TEXTS = [f"rck_bench-{n}_{n:043}" for n in range(KEYS)]
_ROWS = [Key(name=f"bench-{n}", sha256=sha256(key), read=("*",), publish=("*",)) for n, key in enumerate(_TEXTS)]


def configured(folder: Path) -> Path:
    """Writes a file for `--config` into `folder`, and returns its path. Requests without a credential may do
    everything, so that one server serves both."""
    (folder / "secret").write_text(_SECRET)
    rows = "".join(
        f'[[key]]\nname = "{row.name}"\nsha256 = "{row.sha256}"\nread = ["*"]\npublish = ["*"]\n' for row in _ROWS
    )
    file = folder / "roomcast.toml"
    file.write_text(f'open = true\nsecret_files = ["{folder / "secret"}"]\n{rows}')
    return file


def keys(folder: Path) -> Path:
    """Writes the keys into a file in `folder`, one a line, and returns its path."""
    file = folder / "keys"
    file.write_text("\n".join(_TEXTS))
    return file


def tickets(folder: Path, count: int) -> Path:
    """Writes `count` new tickets, which no request has used before, into a file in `folder`, one a line. Returns
    its path."""
    secrets, by, now = Secrets.of_text(_SECRET, "the secret"), grantor_of(_ROWS[0]), time.time()
    made = (
        seal(secrets, by, rooms=[ROOM], publish=[ROOM], sub=str(n), now=now, seconds=3600) for n in range(count)
    )
    file = folder / "tickets"
    file.write_text("\n".join(made))
    return file
