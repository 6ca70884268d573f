"""Opening a log by its name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from roomcast.log import open_log
from roomcast.model.errors import LogUnusable
from roomcast.model.retention import Retention


async def test_a_log_is_opened_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("memory:", "sqlite:log.db", f"sqlite:{tmp_path}/other.db"):
        log = await open_log(url, retention=Retention(5, 500))
        assert (log.name, log.retention) == (url, Retention(5, 500))
        await log.close()
    assert (tmp_path / "log.db").exists()
    assert (tmp_path / "other.db").exists()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mongodb://localhost", "names no database: use mongodb://HOST"),
        ("sqlite:", "use sqlite:PATH"),
        ("memory:log.db", "names no log: memory: has no file; to keep what is published use sqlite:PATH"),
        ("sqlite", "'sqlite' names no log: use sqlite:PATH, memory:, postgresql://"),
        ("var/log.db", "'var/log.db' names no log: use sqlite:var/log.db, memory:, postgresql://"),
        ("redis://localhost", "names no log: use sqlite:PATH"),
        ("", "names no log"),
    ],
)
async def test_an_unknown_name_is_refused_with_the_known_ones(url: str, says: str) -> None:
    with pytest.raises(LogUnusable, match=says):
        await open_log(url, retention=Retention())


def test_a_driver_is_imported_only_for_its_own_log() -> None:
    program = "import roomcast.log, roomcast.log.memory, sys; sys.exit('apsw' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
