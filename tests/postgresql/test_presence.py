"""When a server records that it runs, and when it removes old rows. No database."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from roomcast.log.postgresql.presence import _TIDY_SECONDS, _UNCHANGED_SECONDS, Presence
from tests.postgresql.fakes import FakeSession

NOTE_SECONDS = 0.5


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The loop's time in seconds, which a test may change."""
    time = [1_000.0]
    loop = SimpleNamespace(time=lambda: time[0])
    monkeypatch.setattr("roomcast.log.postgresql.presence.asyncio", SimpleNamespace(get_running_loop=lambda: loop))
    return time


@pytest.mark.parametrize(("position", "seconds"), [(1, _UNCHANGED_SECONDS), (2, NOTE_SECONDS)])
async def test_a_position_that_changes_is_recorded_more_often(
    time: list[float], position: int, seconds: float
) -> None:
    session = FakeSession()
    presence = Presence(session, NOTE_SECONDS, 1)
    records = []
    for now, reached in ((0.0, 1), (seconds / 2, position), (seconds, position), (seconds, position)):
        time[0] = 1_000.0 + now
        await presence.record_if_due(reached)
        records.append(session.calls["note_server"])
    assert records == [1, 1, 2, 2]


async def test_old_rows_are_removed_once_a_minute(time: list[float]) -> None:
    session = FakeSession()
    presence = Presence(session, NOTE_SECONDS, 1)
    for time[0] in (0.0, _TIDY_SECONDS / 2, _TIDY_SECONDS):
        await presence.tidy()
    assert [session.calls[name] for name in ("forget_servers", "forget_keys")] == [2, 2]


async def test_a_server_that_cannot_say_that_it_ends_ends_silently() -> None:
    session = FakeSession(end_server=[TimeoutError()])
    await Presence(session, NOTE_SECONDS, 1).end()
    assert session.calls["end_server"] == 1
