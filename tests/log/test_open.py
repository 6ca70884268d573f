"""Opening a log by its name."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

import roomcast.log
from roomcast.log import file_of, is_shared, load_backend, open_log
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


async def test_a_backend_is_loaded_in_a_thread_and_gets_all_options(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[threading.Thread] = []
    given: list[object] = []

    async def take(url: str, rest: str, **options: object) -> str:
        given.extend((url, rest, options))
        return "the log"

    def load(url: str) -> SimpleNamespace:
        threads.append(threading.current_thread())
        return SimpleNamespace(open_log=take)

    monkeypatch.setattr(roomcast.log, "load_backend", load)
    options = {"retention": Retention(5), "new_epoch": True, "synchronous": "off", "max_message": 7}
    assert await open_log("postgres://a/b", **options) == "the log"  # type: ignore[arg-type,comparison-overlap]
    assert given == ["postgres://a/b", "//a/b", options]
    assert threads != [threading.main_thread()]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mongodb://localhost", "names no database: use mongodb://HOST"),
        ("sqlite:", "use sqlite:PATH"),
        ("memory:log.db", "names no log: memory: has no file; to keep what is published use sqlite:PATH"),
        ("sqlite", "'sqlite' names no log: use sqlite:PATH, memory:, postgresql://"),
        ("var/log.db", "'var/log.db' names no log: use sqlite:var/log.db, memory:, postgresql://"),
        ("log.db", "'log.db' names no log: use sqlite:log.db, memory:, postgresql://"),
        ("redis://localhost", "names no log: use sqlite:PATH"),
        ("", "names no log"),
    ],
)
async def test_an_unknown_name_is_refused_with_the_known_ones(url: str, says: str) -> None:
    with pytest.raises(LogUnusable, match=says):
        await open_log(url, retention=Retention())


async def test_a_password_in_an_unknown_name_is_not_shown() -> None:
    with pytest.raises(LogUnusable) as refused:
        await open_log("redis://user:secret@localhost", retention=Retention())
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "shared", "file"),
    [
        ("sqlite:a.db", False, "a.db"),
        ("memory:", False, ""),
        ("mongodb+srv://a/b", True, ""),
        ("postgres://a/b", True, ""),
    ],
)
def test_the_url_tells_whether_a_log_is_shared_and_where_its_file_is(url: str, shared: bool, file: str) -> None:
    assert (is_shared(url), file_of(url)) == (shared, file)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("pymongo", r"roomcast\[mongodb\]"),
        ("bson.raw_bson", r"roomcast\[mongodb\]"),
        ("asyncpg", r"roomcast\[postgresql\]"),
    ],
)
def test_without_its_driver_a_log_says_what_to_install(
    module: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError(name=module)

    monkeypatch.setattr(roomcast.log, "import_module", fail)
    with pytest.raises(LogUnusable, match=f"needs its driver: pip install '{says}'"):
        load_backend("mongodb://a/b")


def test_any_other_module_that_is_missing_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ModuleNotFoundError(name="roomcast.log.mongodb.reader")

    monkeypatch.setattr(roomcast.log, "import_module", fail)
    with pytest.raises(ModuleNotFoundError):
        load_backend("mongodb://a/b")


def test_a_kind_that_is_unknown_has_no_backend() -> None:
    assert load_backend("redis://localhost") is None


def test_a_driver_is_imported_only_for_its_own_log() -> None:
    program = "import roomcast.log, roomcast.log.memory, sys; sys.exit('apsw' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
