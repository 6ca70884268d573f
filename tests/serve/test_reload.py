"""The changes at a SIGHUP, and the log line about them."""

# ruff: noqa: ASYNC240 -- the tests themselves may touch a file on the loop

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from roomcast import tasks
from roomcast.model.errors import CannotStart
from roomcast.model.settings import Settings
from roomcast.serve.configuration import Configuration
from roomcast.serve.reload import Change, Reload, Reloadable

Configured = Callable[..., Configuration]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "roomcast.toml").write_text("heartbeat = 5\n")
    return tmp_path / "roomcast.toml"


class Follower:
    """A part of the server that follows one option, and keeps the values that it gets."""

    def __init__(self, option: str, fails: bool = False) -> None:
        self.taken: list[object] = []
        self._option = option
        self._fails = fails
        self.reloadable = Reloadable(f"the {option}", (option,), self._prepare)

    def _prepare(self, settings: Settings) -> Change:
        if self._fails:
            raise CannotStart("the certificate is not for this key")
        return lambda: self.taken.append(getattr(settings, self._option))


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "roomcast.server")
    return lambda: caplog.messages


async def test_a_part_that_follows_an_option_gets_the_new_value(path: Path, said: Callable[[], list[str]]) -> None:
    follower = Follower("heartbeat")
    reload = Reload(Configuration({}, {}, str(path)), [follower.reloadable])
    path.write_text("heartbeat = 7\n")
    await reload.reload()
    assert follower.taken == [7.0]
    assert said() == [f"read again: {path}, the heartbeat"]


async def test_a_mistake_in_the_file_changes_nothing(path: Path, said: Callable[[], list[str]]) -> None:
    follower = Follower("heartbeat")
    reload = Reload(Configuration({}, {}, str(path)), [follower.reloadable])
    path.write_text("heartbeat = 7\nportt = 1\n")
    await reload.reload()
    path.unlink()
    await reload.reload()
    assert follower.taken == []
    first, second = said()
    assert first.startswith(f"the configuration stays as it was: {path}, line 2: 'portt' is not an option")
    assert second.startswith("the configuration stays as it was: ")
    assert "No such file" in second


async def test_a_part_that_refuses_the_settings_holds_the_others_back(
    path: Path, said: Callable[[], list[str]]
) -> None:
    followers = [Follower("heartbeat"), Follower("log", fails=True)]
    reload = Reload(Configuration({}, {}, str(path)), [follower.reloadable for follower in followers])
    await reload.reload()
    assert [follower.taken for follower in followers] == [[], []]
    assert said() == ["the configuration stays as it was: the certificate is not for this key"]


async def test_an_option_that_no_part_follows_is_named_as_needing_a_restart_until_it_is_as_before(
    path: Path, said: Callable[[], list[str]]
) -> None:
    reload = Reload(Configuration({"port": "1"}, {"ROOMCAST_MAX_BYTES": "5"}, str(path)))
    path.write_text("heartbeat = 6\nmax_messages = 3\nport = 2\nmax_bytes = 3\n")
    await reload.reload()
    await reload.reload()
    path.write_text("heartbeat = 5\n")
    await reload.reload()
    waiting = f"read again: {path}; to change max_messages, heartbeat, restart the server"
    assert said() == [waiting, waiting, f"read again: {path}"]


async def test_a_bug_in_a_part_is_logged_and_the_next_reload_works(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    failing = [True]

    def prepare(settings: Settings) -> Change:
        if failing:
            failing.pop()
            raise ZeroDivisionError
        return lambda: None

    caplog.set_level(logging.INFO, "roomcast.server")
    reload = Reload(Configuration({}, {}, str(path)), [Reloadable("it", (), prepare)])
    await reload.reload()
    await reload.reload()
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


async def test_a_hangup_is_ignored_when_nothing_is_reloaded_any_more(path: Path) -> None:
    """By default it would kill the server while it drains."""
    before = signal.getsignal(signal.SIGHUP)
    reading = asyncio.create_task(Reload(Configuration({}, {}, str(path))).run())
    await asyncio.sleep(0)
    try:
        await tasks.cancel([reading])
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_without_a_file_the_log_says_that_there_is_nothing_to_read(said: Callable[[], list[str]]) -> None:
    await Reload(Configuration({}, {}, None)).reload()
    assert said() == ["SIGHUP: there is nothing to read again; start the server with --config FILE for that"]
