"""Databases that cannot be used, and warnings at the start. No database."""

from __future__ import annotations

import pytest
from asyncpg.exceptions import InsufficientPrivilegeError

from roomcast.log.postgresql.opening import Anchor, begin_life, prepare
from roomcast.model.errors import LogUnavailable, LogUnusable
from tests.postgresql.fakes import SERVER, FakeSession

NAME = "postgresql://db/chat"


async def test_a_standby_is_waited_for() -> None:
    with pytest.raises(LogUnavailable, match="is a standby"):
        await prepare(FakeSession(identify=[[{**SERVER, "standby": True}]]), NAME, 64_000)


@pytest.mark.parametrize(
    ("server", "says"),
    [
        ({"version": 139_999}, "is older than PostgreSQL 14: use a newer one"),
        ({"encoding": "LATIN1"}, "has the encoding LATIN1: create a database"),
    ],
)
async def test_a_server_that_lacks_something_is_refused(server: dict[str, object], says: str) -> None:
    with pytest.raises(LogUnusable, match=says):
        await prepare(FakeSession(identify=[[{**SERVER, **server}]]), NAME, 64_000)


@pytest.mark.parametrize(
    ("server", "option"), [({"fsync_off": True}, "fsync"), ({"commit_off": True}, "synchronous_commit"), ({}, "")]
)
async def test_a_database_whose_commits_do_not_wait_for_the_disk_is_a_warning(
    server: dict[str, object], option: str, caplog: pytest.LogCaptureFixture
) -> None:
    await prepare(FakeSession(identify=[[{**SERVER, **server}]]), NAME, 64_000)
    assert [f"the database has {option} = off: a crash can lose" in text for text in caplog.messages] == (
        [True] if option else []
    )


async def test_a_publisher_who_cannot_be_granted_its_right_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    denied = InsufficientPrivilegeError("permission denied for schema roomcast")
    await prepare(FakeSession(find_publisher=[[{"barred": True}]], script=[denied]), NAME, 64_000)
    assert "roomcast_publisher may not publish: permission denied for schema roomcast;" in caplog.text


async def test_messages_from_the_future_that_a_new_epoch_moves_are_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = FakeSession(begin_life=[[{"epoch": "new", "begun": True, "timed": 3}]])
    assert await begin_life(session, "", Anchor(), anew=True) == "new"
    assert "the log goes on under the new epoch new" in caplog.text
    assert "3 messages were from the future" in caplog.text
