"""Revocations of the log are put in force, and each stream is then checked again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from roomcast.auth.guard import Guard
from roomcast.delivery import enforcement as enforcements
from roomcast.delivery.enforcement import Enforcement
from roomcast.delivery.hub import Hub
from roomcast.delivery.streams import Streams
from roomcast.log.memory import MemoryLog
from roomcast.model.errors import LogUnavailable
from roomcast.model.retention import Retention
from roomcast.model.revocation import Revocation
from roomcast.model.settings import Settings
from tests.delivery.fakes import until

FIRST, SECOND = Revocation("ann", None, 1), Revocation("bob", None, 1)


class RevokingLog(MemoryLog):
    """A log whose revocations are set by a test; it is away while there are none."""

    def __init__(self) -> None:
        super().__init__(Retention())
        self.rows: Sequence[Revocation] | None = (FIRST,)
        self.asked = 0

    async def revocations(self) -> Sequence[Revocation]:
        self.asked += 1
        if self.rows is None:
            raise LogUnavailable("It is away.")
        return self.rows


class RecordingGuard(Guard):
    """Records the revocations that it is given."""

    def __init__(self) -> None:
        self.given: list[Sequence[Revocation]] = []
        found = Guard.of(Settings(open=True))
        super().__init__(found.mode, found.rights)

    def revoke(self, logged: Sequence[Revocation]) -> None:
        self.given.append(logged)
        super().revoke(logged)


@pytest.fixture
def log() -> RevokingLog:
    return RevokingLog()


@pytest.fixture
def streams(log: RevokingLog) -> Streams:
    return Streams(log, Hub("test", 0, 0))


@pytest.fixture
def guard() -> RecordingGuard:
    return RecordingGuard()


@pytest.fixture
async def running(
    log: RevokingLog, streams: Streams, guard: RecordingGuard, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    monkeypatch.setattr(enforcements, "LOOK_SECONDS", 0)
    task = asyncio.create_task(Enforcement(log, streams, guard).run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_revocations_are_put_in_force_once_and_streams_are_checked_again(
    log: RevokingLog, streams: Streams, guard: RecordingGuard
) -> None:
    enforcement = Enforcement(log, streams, guard)
    assert not streams.rights_changed
    await enforcement.look()
    assert guard.given == [(FIRST,)]
    assert streams.rights_changed
    streams.rights_changed = False
    await enforcement.look()
    assert guard.given == [(FIRST,)]
    assert not streams.rights_changed


@pytest.mark.usefixtures("running")
async def test_it_looks_again_for_ever_also_after_the_log_was_away(
    log: RevokingLog, guard: RecordingGuard
) -> None:
    await until(lambda: guard.given)
    log.rows, asked = None, log.asked
    await until(lambda: log.asked > asked + 2)
    log.rows = (FIRST, SECOND)
    await until(lambda: len(guard.given) > 1)
    assert guard.given == [(FIRST,), (FIRST, SECOND)]
