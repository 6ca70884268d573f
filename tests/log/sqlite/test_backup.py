"""Backups of a log while its server runs, and checks of a file without a server."""

from __future__ import annotations

import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from roomcast.log.sqlite import examination, integrity
from roomcast.log.sqlite.backup import back_up
from roomcast.log.sqlite.examination import examine
from roomcast.model.errors import LogUnusable
from tests.cli.shell import run
from tests.log.sqlite.conftest import open_files
from tests.observer import Observer
from tests.running import Running, start_roomcast

MESSAGES = 3_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with many messages in three rooms, one of them deleted."""
    running = start_roomcast(tmp_path_factory.mktemp("server"), "--max-messages=100000")
    for number in range(0, MESSAGES, 1_000):
        running.post([{"room": f"room {n % 3}", "text": f"{number + n} " * 20} for n in range(1_000)])
    newest = running.publish("by mistake", "room 0")
    assert running._client.delete(f"{running.url}/messages/{newest['id']}").status_code == 204
    yield running
    running.kill()


@pytest.fixture(scope="module")
def sound(server: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the log of `server`."""
    copy = tmp_path_factory.mktemp("copy") / "copy.db"
    back_up(str(server.folder / "test.db"), str(copy), lambda done, total: None)
    return copy


def test_a_copy_is_one_sound_file_that_its_owner_alone_may_read(sound: Path) -> None:
    assert os.listdir(sound.parent) == [sound.name]
    assert stat.S_IMODE(sound.stat().st_mode) == 0o600
    assert examine(str(sound), lambda count: None) == (MESSAGES, 3, MESSAGES + 1)


def test_a_copy_is_whole_while_messages_are_published(server: Running, tmp_path: Path) -> None:
    ended = threading.Event()
    published = []

    def publish() -> None:
        while not ended.is_set():
            published.append(server.publish("meanwhile", "room 1"))

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        for number in range(5):
            copy = str(tmp_path / f"{number}.db")
            assert back_up(str(server.folder / "test.db"), copy, lambda done, total: None) == os.stat(copy).st_size
            found = examine(copy, lambda count: None)
            assert found.messages + 1 == found.newest > MESSAGES  # one is deleted
    finally:
        ended.set()
        publisher.join()
    assert len(published) > 5
    assert server.metric("roomcast_log_writable") == 1


def test_a_server_that_begins_with_a_copy_begins_a_new_epoch(sound: Path, server: Running, tmp_path: Path) -> None:
    shutil.copy(sound, tmp_path / "test.db")
    restored = start_roomcast(tmp_path, "--max-messages=100000")
    with Observer(restored.port, f"/messages?room=room%200&last_event_id={_id(server, 3_000_000)}") as follower:
        gap = follower.next().json
    epochs = _epoch(server), _epoch(restored)
    restored.kill()
    assert epochs[0] != epochs[1]
    assert gap["reason"] == "epoch"


def _epoch(server: Running) -> str:
    return str(server.get("/readyz").json()["position"]).split("-")[0]


def _id(server: Running, seq: int) -> str:
    return f"{_epoch(server)}-{seq}"


def test_progress_goes_to_the_end(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "_READ_MESSAGES", 1_000)
    copied: list[tuple[int, int]] = []
    back_up(str(sound), str(tmp_path / "again.db"), lambda done, total: copied.append((done, total)))
    assert copied[-1] == (sound.stat().st_size,) * 2
    checked: list[int] = []
    examine(str(sound), checked.append)
    assert checked[-1] == MESSAGES + 1


def test_a_file_that_is_there_is_never_replaced(sound: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("mine")
    with pytest.raises(LogUnusable, match="is there already"):
        back_up(str(sound), str(there), lambda done, total: None)
    assert there.read_text() == "mine"


def test_a_file_that_appears_during_the_backup_is_not_replaced_either(sound: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"

    def appear(done: int, total: int) -> None:
        copy.write_text("mine")

    with pytest.raises(FileExistsError):
        back_up(str(sound), str(copy), appear)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"]


def test_what_an_interrupted_backup_has_left_is_replaced(sound: Path, tmp_path: Path) -> None:
    (tmp_path / "copy.db.part").write_text("half of it")
    back_up(str(sound), str(tmp_path / "copy.db"), lambda done, total: None)
    assert os.listdir(tmp_path) == ["copy.db"]
    assert open_files(tmp_path) == []


def test_a_backup_that_fails_leaves_nothing_behind(sound: Path, tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(str(sound), str(tmp_path / "copy.db"), fail)
    assert os.listdir(tmp_path) == []


def execute(statement: str) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        connection = apsw.Connection(str(file))
        connection.execute(statement)
        connection.close()

    return damage


def overwrite(at: int, size: int) -> Callable[[Path], None]:
    def damage(file: Path) -> None:
        with file.open("r+b") as opened:
            opened.seek(at)
            opened.write(b"\x55" * size)

    return damage


def cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(cut, id="cut short"),
        pytest.param(overwrite(40_960, 4096), id="a page overwritten"),
        pytest.param(execute("DELETE FROM messages WHERE seq = 1500"), id="a message missing"),
        pytest.param(execute("UPDATE messages SET prev = 1 WHERE seq = 1500"), id="a message before it missing"),
        pytest.param(execute("UPDATE messages SET prev = 1 WHERE seq = 2"), id="the first of a room missing"),
        pytest.param(
            execute(
                "UPDATE rooms SET trimmed = 9999 WHERE room = 'room 1'; UPDATE messages SET prev = 2 WHERE seq = 2"
            ),
            id="a message before itself",
        ),
        pytest.param(execute("UPDATE messages SET body = zeroblob(length(body)) WHERE seq = 1500"), id="no JSON"),
        pytest.param(execute("UPDATE rooms SET messages = messages + 1"), id="a count wrong"),
        pytest.param(execute("UPDATE state SET newest = 7"), id="the end wrong"),
        pytest.param(execute("DELETE FROM state"), id="no state"),
    ],
)
def test_damage_is_found(damage: Callable[[Path], None], sound: Path, tmp_path: Path) -> None:
    file = tmp_path / "log.db"
    shutil.copy(sound, file)
    execute("PRAGMA ignore_check_constraints = 1")(file)
    damage(file)
    with pytest.raises(apsw.CorruptError):
        examine(str(file), lambda count: None)


def test_all_pages_are_checked_however_large_the_database_is(sound: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[apsw.Connection] = []
    monkeypatch.setattr(integrity, "CHECKED_BYTES", 0)
    monkeypatch.setattr(integrity, "_check_pages", checked.append)
    examine(str(sound), lambda count: None)
    assert len(checked) == 1


def test_checking_a_copy_changes_nothing_in_it(sound: Path, tmp_path: Path) -> None:
    file = tmp_path / "log.db"
    shutil.copy(sound, file)
    execute("PRAGMA journal_mode = wal")(file)
    before = file.read_bytes()
    examine(str(file), lambda count: None)
    assert file.read_bytes() == before


def test_the_exit_status_of_check_tells_whether_the_log_is_sound(
    sound: Path, server: Running, tmp_path: Path
) -> None:
    done = run("check", str(sound))
    assert (done.returncode, done.stdout) == (
        0,
        f"{sound} is sound: {MESSAGES:,} messages of 3 rooms, up to number {MESSAGES + 1}\n",
    )
    assert run("check", str(server.folder / "test.db")).returncode == 0  # a server has it open
    damaged = tmp_path / "damaged.db"
    shutil.copy(sound, damaged)
    cut(damaged)
    done = run("check", str(damaged))
    assert done.returncode == 1
    assert done.stdout.startswith(f"{damaged} is damaged: ")


@pytest.mark.parametrize("file", ["missing.db", "text.db", "other.db", "newer.db"])
def test_a_file_that_cannot_be_read_or_is_no_log_is_status_2(file: str, sound: Path, tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("hello" * 1_000)
    execute("CREATE TABLE t (x)")(tmp_path / "other.db")
    shutil.copy(sound, tmp_path / "newer.db")
    execute("PRAGMA user_version = 99")(tmp_path / "newer.db")
    done = run("check", str(tmp_path / file))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("roomcast: ")


def test_backup_copies_the_log_of_the_configuration(server: Running, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    done = run("backup", str(copy), ROOMCAST_LOG=f"sqlite:{server.folder}/test.db")
    assert done.returncode == 0
    assert f"{copy} has {copy.stat().st_size:,} bytes" in done.stderr
    again = run("backup", str(copy), f"--log=sqlite:{server.folder}/test.db")
    assert (again.returncode, "is there already" in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("log", "instead"),
    [
        ("memory:", "roomcast export"),
        ("mongodb://u:secret@h/x", "mongodump"),
        ("sqlite:none.db", "there is no file"),
    ],
)
def test_backup_of_a_log_without_a_file_says_what_to_do_instead(log: str, instead: str, tmp_path: Path) -> None:
    done = run("backup", str(tmp_path / "copy.db"), f"--log={log}")
    assert done.returncode == 1
    assert instead in done.stderr
    assert "secret" not in done.stderr
    assert os.listdir(tmp_path) == []
