"""Databases opened for reading only, and checks of them, without a server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import apsw
import pytest

from roomcast.log.append_queue import AppendRequest
from roomcast.log.sqlite import examination
from roomcast.log.sqlite.opening import open_database
from roomcast.log.sqlite.snapshot import snapshot
from roomcast.log.sqlite.writer import SqliteWriter
from roomcast.model.retention import Retention
from tests.log.sqlite.conftest import open_files, without_rights
from tests.log.steps import draft


@pytest.fixture
def file() -> Iterator[Path]:
    """A closed log of two messages, which everybody may read and nobody may write."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "log.db"
        opened = open_database(str(path), new_epoch=False, synchronous="off")
        writer = SqliteWriter(opened.writer, opened.files, opened.state, opened.clock, Retention(), 10)
        writer.commit([AppendRequest([draft(), draft("b")], None)], None)
        opened.reader.close()
        writer.close()
        opened.lock.release()
        path.chmod(0o444)
        yield path


def test_a_database_is_read_by_a_user_who_may_write_nothing_beside_it(file: Path) -> None:
    with without_rights(), snapshot(str(file)) as connection:
        assert connection.execute("SELECT newest FROM state").get == 2


def test_a_database_with_a_write_ahead_log_is_never_read_without_it(file: Path) -> None:
    """The newest messages are in there, and SQLite cannot read it without the right to write beside it."""
    file.with_name("log.db-wal").write_bytes(b"newer messages")
    with without_rights(), pytest.raises((apsw.CantOpenError, apsw.ReadOnlyError)), snapshot(str(file)):
        pass


def test_progress_is_told_while_the_pages_are_checked(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "_PROGRESS_STEPS", 10)
    told: list[int] = []
    examination.examine(str(file), told.append)
    assert told[:2] == [0, 0]
    assert told[-1] == 2


@pytest.mark.parametrize("without", [False, True], ids=["with rights", "without rights"])
def test_a_name_may_have_any_characters_and_nothing_stays_open(file: Path, without: bool) -> None:
    strange = file.rename(file.with_name("50%25 #1?.db"))
    with without_rights() if without else nullcontext(), snapshot(str(strange)) as connection:
        assert connection.execute("SELECT newest FROM state").get == 2
    assert open_files(file.parent) == []
