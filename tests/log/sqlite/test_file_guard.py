"""When the files of a writer are checked, and what is refused. No files."""

from __future__ import annotations

from typing import cast

import pytest

from roomcast.log.sqlite import file_guard
from roomcast.log.sqlite.file_guard import CHECK_SECONDS, FileGuard
from roomcast.log.sqlite.files import DatabaseFiles
from roomcast.model.errors import LogUnavailable


class Files:
    """Files in the state that a test sets."""

    def __init__(self) -> None:
        self.truncated = ""
        self.checks = 0
        self.gone = False

    def missing(self) -> str:
        return ""

    def check(self) -> None:
        self.checks += 1
        if self.gone:
            raise FileNotFoundError


@pytest.fixture
def files() -> Files:
    return Files()


@pytest.fixture
def guard(files: Files) -> FileGuard:
    return FileGuard(cast(DatabaseFiles, files))


def test_the_files_are_checked_now_and_then(
    files: Files, guard: FileGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = []
    for now in (1.0, 1.0 + CHECK_SECONDS / 2, 1.0 + CHECK_SECONDS):
        monkeypatch.setattr(file_guard, "monotonic", lambda now=now: now)
        guard.check()
        checks.append(files.checks)
    assert checks == [1, 1, 2]


def test_nothing_is_written_after_a_file_was_cut_short_even_if_no_check_is_due(
    files: Files, guard: FileGuard
) -> None:
    guard.check_at = float("inf")
    files.truncated = "log.db"
    with pytest.raises(LogUnavailable, match=r"log\.db was emptied or cut short"):
        guard.check()


def test_a_file_that_vanishes_between_two_looks_is_found_by_the_next_check(files: Files, guard: FileGuard) -> None:
    files.gone = True
    guard.check()
    assert files.checks == 1
