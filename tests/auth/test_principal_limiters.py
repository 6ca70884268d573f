"""The publishing rates of principals, each by the rate of its quota."""

from __future__ import annotations

from typing import Any

import pytest

from roomcast.auth import principal_limiters as module
from roomcast.auth.grants import NOTHING
from roomcast.auth.principal import Principal
from roomcast.auth.principal_limiters import PrincipalLimiters
from roomcast.model.errors import TooMany
from roomcast.model.settings.limits import Quota


def principal(rate: float = 1 / 3600, burst: int = 2, kind: Any = "token") -> Principal:
    quota = Quota(publish_rate=rate, publish_burst=burst)
    return Principal(kind=kind, name="", user=None, read=NOTHING, publish=NOTHING, quota=quota)


def taken(limiters: PrincipalLimiters, who: Principal, name: str) -> int:
    """The number of five messages that are allowed."""
    given = 0
    for _ in range(5):
        try:
            limiters.take(who, name)
        except TooMany:
            continue
        given += 1
    return given


def test_each_name_has_a_bucket_of_its_rate() -> None:
    limiters = PrincipalLimiters()
    assert [taken(limiters, principal(), "a"), taken(limiters, principal(), "b")] == [2, 2]
    assert taken(limiters, principal(burst=3), "a") == 3
    assert taken(limiters, principal(), "a") == 0


def test_refusals_are_counted_by_kind() -> None:
    limiters = PrincipalLimiters()
    taken(limiters, principal(), "a")
    taken(limiters, principal(kind="key"), "b")
    limiters.take_more(principal(burst=1), "c", 5)
    with pytest.raises(TooMany):
        limiters.take_more(principal(burst=1), "c", 1)
    assert limiters.refused == {"token": 4, "key": 3}


def test_workers_charge_each_other_for_what_they_have_given() -> None:
    here, there = PrincipalLimiters(), PrincipalLimiters()
    assert here.take_spent() == {}
    here.take(principal(), "a b\nc")
    here.take_more(principal(burst=7), "a b\nc", 3)
    spent = here.take_spent()
    assert sorted(spent.values()) == [1, 3]
    for name, amount in spent.items():
        there.charge(name, amount)
    assert taken(there, principal(), "a b\nc") == 1
    assert taken(there, principal(burst=7), "a b\nc") == 4
    assert here.take_spent() == {}


def test_rates_of_earlier_configurations_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RATES", 3)
    limiters = PrincipalLimiters()
    for burst in range(1, 10):
        limiters.take(principal(burst=burst), "a")
        assert len(limiters._limiters) <= 3
