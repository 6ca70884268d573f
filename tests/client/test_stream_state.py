"""When and where a stream is connected again, without any I/O."""

from __future__ import annotations

import httpx
import pytest

from roomcast.client import stream_state
from roomcast.client.decode import Event
from roomcast.client.errors import CredentialRejected, Refused, TryAgain
from roomcast.client.stream_state import StreamState
from roomcast.model.errors import Unauthenticated

CUT = httpx.ReadError("cut")


def test_an_event_resets_the_count_of_failures() -> None:
    state = StreamState()
    assert [state.ended(CUT).failures for _ in range(2)] == [1, 2]
    state.take(Event("message", "x", "1"))
    assert state.ended(CUT).failures == 1


def test_a_retry_after_above_the_retry_delay_counts() -> None:
    state = StreamState(retry=1.0)
    assert state.ended(TryAgain(Refused("busy"), 20.0)).seconds >= 20
    assert state.ended(TryAgain(Refused("busy"), 0.0)).seconds < 20


def test_pauses_grow_to_the_retry_delay_and_a_minute_however_many_failures_there_were() -> None:
    state = StreamState(retry=1.0)
    pauses = [state.ended(CUT).seconds for _ in range(2_000)]
    assert 31 < max(pauses) <= 61


def test_replacements_over_a_long_time_are_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("roomcast.client.stream_state.time.monotonic", lambda: clock[0])

    def replaced(seconds: float) -> None:
        clock[0] = seconds
        state.take(Event("roomcast.end", '{"reason":"replaced"}', "1"))
        state.ended(None)

    state = StreamState(is_roomcast=True)
    for seconds in (0.0, 50.0, 100.0):
        replaced(seconds)
    with pytest.raises(Unauthenticated, match="get a ticket for each stream"):
        replaced(101.0)


def test_a_fresh_credential_is_tried_once_for_each_open_stream() -> None:
    rejection = httpx.Response(401, request=httpx.Request("GET", "http://host"))
    state = StreamState(renews_credential=True)
    for error in (CredentialRejected, Refused):
        with pytest.raises(error):
            state.refuse(rejection, b"")
    state.opened()
    with pytest.raises(CredentialRejected):
        state.refuse(rejection, b"")


def test_spaces_around_an_id_are_not_sent() -> None:
    """An HTTP header cannot begin or end with them."""
    assert ("Last-Event-ID", b"a b") in StreamState(last_event_id=" a b\t").headers()
    assert "Last-Event-ID" not in dict(StreamState(last_event_id=" ").headers())


def test_an_address_that_httpx_cannot_use_is_final() -> None:
    assert stream_state.is_final(httpx.UnsupportedProtocol("x"))
    assert stream_state.is_final(httpx.LocalProtocolError("x"))
    assert not stream_state.is_final(CUT)
