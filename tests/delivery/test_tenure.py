"""Streams that replace each other, and what other processes are told of it."""

from __future__ import annotations

import pytest

from roomcast.delivery import tenure
from roomcast.delivery.tenure import REPLACED_SECONDS, REPLACEMENTS, Holder, Tenures


class Someone:
    """A holder of a ticket; `ticket_nonce` identifies it."""

    def __init__(self, ticket_nonce: str = "a", until: float | None = None) -> None:
        self.ticket_nonce, self.until = ticket_nonce, until


class One:
    """A stream that begins. It leaves when it is ended, as real ones do."""

    def __init__(self, tenures: Tenures, holder: Holder, *, replaces: bool = True, now: float = 0) -> None:
        self.holder: Holder | None = holder
        self.ended = ""
        self._tenures = tenures
        tenures.enter(self, replaces=replaces, now=now)

    def withdraw(self, reason: str) -> None:
        self.ended = reason
        self._tenures.leave(self)


@pytest.fixture
def told() -> list[str]:
    """The messages to other processes."""
    return []


@pytest.fixture
def tenures(told: list[str]) -> Tenures:
    found = Tenures()
    found.opened = lambda nonce: told.append(f"opened {nonce}")
    found.replaced = lambda nonce: told.append(f"replaced {nonce}")
    return found


def test_a_tickets_stream_replaces_the_older_one_and_others_are_told(tenures: Tenures, told: list[str]) -> None:
    first, other, second = One(tenures, Someone()), One(tenures, Someone("b")), One(tenures, Someone())
    assert (first.ended, other.ended, second.ended) == ("replaced", "", "")
    assert told == ["opened a", "opened b", "opened a", "replaced a"]
    third = One(tenures, Someone())
    assert (second.ended, third.ended) == ("replaced", "")


@pytest.mark.parametrize(("holder", "replaces"), [(Someone(), False), (Someone(""), True)])
def test_streams_that_replace_nothing_stay_and_nobody_is_told(
    tenures: Tenures, told: list[str], holder: Someone, replaces: bool
) -> None:
    streams = [One(tenures, holder, replaces=replaces) for _ in range(2)]
    assert [stream.ended for stream in streams] == ["", ""]
    assert told == []
    assert tenures._by_nonce == {}


def test_a_stream_in_another_process_ends_the_one_here(tenures: Tenures, told: list[str]) -> None:
    here = One(tenures, Someone())
    tenures.replace("b", 0)
    assert here.ended == ""
    tenures.replace("a", 0)
    assert here.ended == "replaced"
    assert told == ["opened a", "replaced a"]
    tenures.replace("a", 0)
    assert told == ["opened a", "replaced a"]
    assert len(tenures._replaced["a"]) == 1


def test_a_stream_that_does_not_replace_is_not_forgotten_for_one_that_does(tenures: Tenures) -> None:
    holder = Someone()
    only, beside = One(tenures, holder), One(tenures, holder, replaces=False)
    tenures.leave(beside)
    tenures.replace("a", 0)
    assert (only.ended, beside.ended) == ("replaced", "")


def test_nothing_is_kept_of_streams_that_have_left(tenures: Tenures) -> None:
    streams = [One(tenures, Someone(name, until=9.5)) for name in "ab"]
    tenures.leave(streams[0])
    assert list(tenures._by_second) == [10]
    tenures.leave(streams[1])
    assert (tenures._by_second, tenures._by_nonce) == ({}, {})


@pytest.mark.parametrize(
    ("replacements", "seconds", "refused"),
    [
        (REPLACEMENTS + 1, REPLACED_SECONDS - 1, True),
        (REPLACEMENTS, 1, False),
        (REPLACEMENTS + 1, REPLACED_SECONDS, False),
    ],
)
def test_a_ticket_is_refused_after_too_many_replacements_in_a_minute(
    tenures: Tenures, replacements: int, seconds: float, refused: bool
) -> None:
    for n in range(replacements):
        tenures.count_replacement("a", n * seconds / (replacements - 1))
    assert tenures.refuses("a") == refused
    assert ("a" in tenures._replaced) != refused
    assert not tenures.refuses("b")


def test_the_tickets_that_are_watched_are_those_replaced_last(
    tenures: Tenures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tenure, "_WATCHED", 2)
    for nonce in "abac":
        tenures.count_replacement(nonce, 0)
    assert list(tenures._replaced) == ["a", "c"]
    for nonce in "xyz":
        for _ in range(REPLACEMENTS + 1):
            tenures.count_replacement(nonce, 0)
    assert [tenures.refuses(nonce) for nonce in "xyz"] == [False, True, True]
