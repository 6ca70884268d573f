"""The promises about revocations, on every backend."""

from __future__ import annotations

import pytest

from roomcast.log import revoked
from roomcast.log.base import Log
from roomcast.model.errors import LogUnavailable, TooManyRevocations
from roomcast.model.revocation import KEPT_MS, Revocation
from tests.log.steps import publish

NOW = 1_800_000_000_000


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The time in ms, which a test may change."""
    times = [NOW]
    monkeypatch.setattr("roomcast.log.clock.clock", lambda: times[0] * 1_000_000)
    return times


async def test_a_new_log_has_no_revocations(log: Log) -> None:
    assert list(await log.revocations()) == []


async def test_revocations_are_kept_and_are_no_messages(log: Log) -> None:
    rows = {Revocation("42", None, NOW), Revocation("42", "https://a", NOW - 5), Revocation("ü\u2028", "b", NOW)}
    for row in rows:
        await log.revoke(row)
    assert set(await log.revocations()) == rows
    assert (await publish(log, "a"))[0].seq == 1


async def test_of_two_revocations_for_one_person_the_later_one_counts(log: Log) -> None:
    for before in (NOW - 9, NOW, NOW - 5):
        await log.revoke(Revocation("42", "https://a", before))
    assert list(await log.revocations()) == [Revocation("42", "https://a", NOW)]


async def test_the_revocations_are_the_same_object_as_long_as_nothing_has_changed(log: Log) -> None:
    await log.revoke(Revocation("42", None, NOW))
    first = await log.revocations()
    assert await log.revocations() is first
    await log.revoke(Revocation("43", None, NOW))
    assert await log.revocations() is not first


async def test_a_revocation_goes_when_all_credentials_that_it_ends_have_expired(log: Log, now: list[int]) -> None:
    await log.revoke(Revocation("42", None, NOW))
    now[0] += KEPT_MS
    await log.revoke(Revocation("43", None, now[0]))
    assert {row.sub for row in await log.revocations()} == {"42", "43"}
    now[0] += 1
    await log.revoke(Revocation("44", None, now[0]))
    assert {row.sub for row in await log.revocations()} == {"43", "44"}


async def test_no_revocation_is_forgotten_for_another(
    log: Log, now: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revoked, "MAX_REVOCATIONS", 2)
    await log.revoke(Revocation("1", None, NOW))
    await log.revoke(Revocation("2", None, NOW))
    with pytest.raises(TooManyRevocations, match="replace the secret"):
        await log.revoke(Revocation("3", None, NOW))
    await log.revoke(Revocation("2", None, NOW + 1))
    assert {row.sub for row in await log.revocations()} == {"1", "2"}
    now[0] += KEPT_MS
    with pytest.raises(TooManyRevocations):
        await log.revoke(Revocation("3", None, now[0]))
    now[0] += 1
    await log.revoke(Revocation("3", None, now[0]))
    assert {row.sub for row in await log.revocations()} == {"2", "3"}


@pytest.mark.not_on("mongodb", because="a closed client cannot be told from one that is away")
async def test_a_closed_log_is_unavailable(log: Log) -> None:
    await log.close()
    with pytest.raises(LogUnavailable):
        await log.revoke(Revocation("42", None, NOW))
    with pytest.raises(LogUnavailable):
        await log.revocations()
