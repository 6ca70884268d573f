"""Files that cannot be opened, their permissions, and versions of the database."""

# ruff: noqa: ASYNC240 -- the tests themselves may touch a file on the loop

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import pytest

from roomcast.log.sqlite import log as sqlite
from roomcast.log.sqlite import opening
from roomcast.log.sqlite.log import SqliteLog
from roomcast.model.errors import LogUnusable
from roomcast.model.retention import Retention
from tests.log.sqlite.conftest import Reopen, without_rights
from tests.log.steps import publish, rooms, seqs


def text_file(path: Path) -> None:
    path.write_text("Dear diary, " * 1_000)


def foreign_database(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE recipes (name)")
    connection.close()


def newer_version(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA application_id = {opening.APPLICATION_ID}; PRAGMA user_version = 99")
    connection.close()


def damaged_head(path: Path) -> None:
    foreign_database(path)
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3_000)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (text_file, "is not a database: name another file"),
        (foreign_database, "is the SQLite database of another program"),
        (newer_version, "is of version 99, and this roomcast knows versions up to 2"),
        (damaged_head, "is damaged"),
        (Path.mkdir, "is a directory: name a file in it"),
        (lambda path: path.symlink_to("nowhere/log.db"), "does not exist: make it, or name another file"),
    ],
)
async def test_a_file_that_cannot_be_the_log_is_named_in_one_sentence(
    reopen: Reopen, path: Path, make: Callable[[Path], None], says: str
) -> None:
    make(path)
    with pytest.raises(LogUnusable, match=says) as caught:
        await reopen()
    assert "\n" not in caught.value.detail
    assert caught.value.detail.endswith(".")


async def test_a_log_needs_a_file_and_a_known_value_of_synchronous(reopen: Reopen) -> None:
    with pytest.raises(LogUnusable, match="use sqlite:PATH"):
        await sqlite.open_log("sqlite:", "", retention=Retention())
    with pytest.raises(LogUnusable, match="use one of full, normal, off"):
        await reopen(synchronous="sometimes")


async def test_a_file_belongs_to_one_server(log: SqliteLog, path: Path, tmp_path: Path) -> None:
    other_name = tmp_path / "link.db"
    other_name.symlink_to(path)
    for name in (path, other_name):
        with pytest.raises(LogUnusable, match=f"belongs to another running server .process {os.getpid()}."):
            await sqlite.open_log("sqlite:", str(name), retention=Retention())
    await log.close()
    await (await sqlite.open_log("sqlite:", str(path), retention=Retention())).close()


async def test_the_process_that_has_the_lock_is_named_if_it_is_known(reopen: Reopen, path: Path) -> None:
    lock = path.with_name("log.db.lock")
    lock.write_text("999999999999\n")
    await reopen()
    with pytest.raises(LogUnusable, match=f"another running server .process {os.getpid()}.:"):
        await sqlite.open_log("sqlite:", str(path), retention=Retention())
    lock.write_text("nobody\n")
    with pytest.raises(LogUnusable, match="another running server: stop that one"):
        await sqlite.open_log("sqlite:", str(path), retention=Retention())


async def test_a_lock_keeps_the_permissions_that_it_has(reopen: Reopen, path: Path) -> None:
    await (await reopen()).close()
    path.with_name("log.db.lock").chmod(0o666)
    await reopen()
    assert modes(path)["log.db.lock"] == 0o666


async def test_a_file_that_failed_to_open_is_free_again(reopen: Reopen, path: Path) -> None:
    text_file(path)
    with pytest.raises(LogUnusable, match="not a database"):
        await reopen()
    path.unlink()
    assert seqs(await publish(await reopen(), "a")) == [1]


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Sets the umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def modes(path: Path) -> dict[str, int]:
    """The permissions of the database and of all files beside it."""
    return {file.name: file.stat().st_mode & 0o777 for file in path.parent.glob(f"{path.name}*")}


async def test_only_their_owner_may_read_new_files(reopen: Reopen, path: Path) -> None:
    with umask(0):
        await publish(await reopen(), "a")
    assert modes(path) == dict.fromkeys(("log.db", "log.db-wal", "log.db-shm", "log.db.lock"), 0o600)


async def test_a_database_keeps_its_permissions_and_the_files_beside_it_have_the_same(
    reopen: Reopen, path: Path
) -> None:
    await (await reopen()).close()
    path.chmod(0o660)
    path.with_name("log.db.lock").unlink()
    with umask(0o077):
        await publish(await reopen(), "a")
    assert modes(path) == dict.fromkeys(("log.db", "log.db-wal", "log.db-shm", "log.db.lock"), 0o660)


@pytest.mark.parametrize("writable", ["directory", "file"])
async def test_a_file_that_may_not_be_written_is_refused(reopen: Reopen, writable: str) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path = Path(directory) / "log.db"
        await reopen(path=path)
        await (await reopen()).close()
        path.chmod(0o666 if writable == "file" else 0o444)
        Path(directory).chmod(0o777 if writable == "directory" else 0o555)
        path.with_suffix(".db.lock").chmod(0o666 if writable == "directory" else 0o444)
        with without_rights(), pytest.raises(LogUnusable, match="give this user the right to write it"):
            await reopen(path=path)
        Path(directory).chmod(0o777)


async def test_an_older_database_is_brought_to_the_version_of_today(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await reopen()
    stored = await publish(log, "a")
    scripts = (*opening.MIGRATIONS, "ALTER TABLE rooms ADD COLUMN topic TEXT; CREATE TABLE later (x)")
    with monkeypatch.context() as tomorrow:
        tomorrow.setattr(opening, "MIGRATIONS", scripts)
        log = await reopen()
        assert list((await log.read(rooms("a"), 0, 10)).messages) == stored
        assert seqs(await publish(log, "b")) == [2]
    with pytest.raises(
        LogUnusable, match="is of version 3, and this roomcast knows versions up to 2: start a newer"
    ):
        await reopen()


async def test_a_migration_that_fails_leaves_the_database_as_it_was(
    reopen: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await publish(await reopen(), "a")
    scripts = (*opening.MIGRATIONS, "DELETE FROM messages; CREATE TABLE messages (x)")
    with monkeypatch.context() as tomorrow:
        tomorrow.setattr(opening, "MIGRATIONS", scripts)
        with pytest.raises(LogUnusable, match="already exists"):
            await reopen()
    assert list((await (await reopen()).read(rooms("a"), 0, 10)).messages) == stored


async def test_an_older_roomcast_and_this_one_keep_the_order_of_rooms_for_each_other(
    reopen: Reopen, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index that is not in the schema is created if it is missing. It is no new version of the file."""
    await publish(await reopen(), *"abc")
    await (await reopen()).close()
    connection = apsw.Connection(str(path))
    connection.execute("DROP INDEX rooms_newest")
    assert connection.pragma("user_version") == 2
    connection.close()
    log = await reopen()
    await publish(log, "a")
    assert [stats.room for stats in await log.rooms("", "newest", None, 2)] == ["a", "c"]
