"""An outage of a database, and the lines that the server logs about it."""

from __future__ import annotations

import pytest

from roomcast.log.outage import HISTORY_CHANGED, NOT_REACHED, Outage
from roomcast.model.errors import LogUnavailable, LogUnusable

AWAY = "the log is away, followers wait; once it answers, all goes on by itself: "


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage()
    outage.check()
    for _ in range(2):
        outage.begin(LogUnavailable("It is away."))
    with pytest.raises(LogUnavailable, match="It is away"):
        outage.check()
    outage.end()
    outage.end()
    outage.check()
    assert caplog.messages == [f"{AWAY}It is away.", "the log is back: nothing is left to do"]


def test_a_mistake_is_logged_even_if_the_database_was_away_before(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage()
    outage.begin(LogUnavailable("It is away."))
    outage.begin(LogUnavailable("It is away still."))
    for _ in range(2):
        outage.begin(LogUnusable("The password is wrong."))
    assert caplog.messages == [f"{AWAY}{why}" for why in ("It is away.", outage.why)]


def test_a_log_whose_history_has_changed_is_away_until_it_is_read_anew() -> None:
    outage = Outage()
    outage.begin_anew()
    with pytest.raises(LogUnavailable, match="its history has changed"):
        outage.check()
    outage.end()
    outage.check()


@pytest.mark.parametrize("why", [NOT_REACHED, HISTORY_CHANGED])
def test_an_outage_is_logged_also_at_a_start_and_while_the_log_is_read_anew(
    why: str, caplog: pytest.LogCaptureFixture
) -> None:
    outage = Outage(why)
    outage.begin(LogUnavailable(why))  # what a call meanwhile raises is no news
    for _ in range(2):
        outage.begin(LogUnavailable("It is away."))
    outage.end()
    assert caplog.messages == [f"{AWAY}It is away.", "the log is back: nothing is left to do"]


@pytest.mark.parametrize("why", [NOT_REACHED, HISTORY_CHANGED])
def test_only_a_database_that_was_reached_before_is_back(why: str, caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage(why)
    assert outage
    outage.end()
    assert not outage
    assert caplog.messages == ["the log is back: nothing is left to do"] * (why == HISTORY_CHANGED)
