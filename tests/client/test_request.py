"""Requests of the API as they are sent, without any I/O."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from roomcast.client import Client, Refused, request
from roomcast.client.decode import Event
from roomcast.client.http import OutgoingRequest
from roomcast.client.messages import batch, check_empty, followers, from_event, page, rooms, single, ticket
from roomcast.model.draft import parse_json
from roomcast.model.errors import RoomcastError

BASE = "http://host"


@pytest.mark.parametrize(
    ("since", "text"),
    [
        (timedelta(milliseconds=1), "1s"),
        (timedelta(minutes=10), "600s"),
        (timedelta(seconds=1, microseconds=1), "2s"),
    ],
)
def test_a_duration_is_rounded_up_to_seconds(since: timedelta, text: str) -> None:
    assert request.follow(BASE, ["a"], [], since, None).url == f"{BASE}/messages?room=a&since={text}"


def test_the_seconds_of_a_ticket_are_rounded_up() -> None:
    asked = request.ticket(BASE, seconds=0.2, rooms=("a",), user=None)
    assert msgspec.json.decode(asked.body or b"") == {"rooms": ["a"], "seconds": 1}


@pytest.mark.parametrize("make", [request.message, request.delete])
def test_an_id_is_one_part_of_the_path(make: object) -> None:
    asked = make(BASE, "a/b?c")  # type: ignore[operator]
    assert isinstance(asked, OutgoingRequest)
    assert asked.url == f"{BASE}/messages/a%2Fb%3Fc"


def test_a_publish_bounds_its_answer_by_its_body_and_its_messages() -> None:
    small, large = (request.publish(BASE, {"room": "a", "text": "x" * n}, None) for n in (1, 1_000_000))
    assert small.max_answer == 8 * len(small.body or b"") + 1_024 + 65_536
    assert large.max_answer == 8 * len(large.body or b"") + 1_024 + 65_536
    batch = request.publish(BASE, [{"room": "a", "text": "x"}] * 1_000, None)
    assert batch.max_answer == 8 * len(batch.body or b"") + 1_000 * 1_024 + 65_536


@pytest.mark.parametrize("character", ["я", "😀", "\u2028"])
def test_a_batch_of_a_credential_with_the_longest_user_fits_into_its_answer(character: str) -> None:
    asked = request.publish(BASE, [{"room": "a", "text": "x"}] * 1_000, None)
    drafts = parse_json(asked.body or b"", 64_000, character * 128).drafts
    added = len('"id":"0123456789ab-123456789012345678","timestamp":"2026-11-22T06:27:00.000Z",')
    assert asked.max_answer
    assert asked.max_answer > sum(len(draft.body) + added for draft in drafts)


def test_an_idempotency_key_is_sent_as_it_is_also_an_empty_one() -> None:
    for key in ("k", ""):
        assert ("Idempotency-Key", key) in request.publish(BASE, {"room": "a"}, key).headers


def test_the_silence_of_a_stream_is_two_and_a_half_heartbeats() -> None:
    assert [request.max_silence(heartbeat) for heartbeat in (None, 2.0, 0.0)] == [37.5, 5.0, 0.0]


@pytest.mark.parametrize("type", ["open", "error", "roomcast.end", "roomcast.presence"])
def test_reserved_events_are_skipped(type: str) -> None:
    assert from_event(Event(type, "{}", "")) is None


def test_a_delete_has_no_body_in_its_answer() -> None:
    check_empty(b"")
    with pytest.raises(RoomcastError, match="check that a roomcast server answers"):
        check_empty(b"<html>")


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"[" * 100_000, b'"\xff"'])
def test_an_answer_without_a_message_raises_refused(body: bytes) -> None:
    with pytest.raises(Refused, match="this answer is not from roomcast"):
        single(body)


@pytest.mark.parametrize("body", [b"", b"{}", b"[{}]", b"[7]"])
def test_an_answer_without_an_array_of_messages_raises_refused(body: bytes) -> None:
    with pytest.raises(Refused, match="this answer is not from roomcast"):
        batch(body)


@pytest.mark.parametrize("decode", [page, rooms, followers, ticket])
@pytest.mark.parametrize("body", [b"", b"{}", b"[" * 100_000, b'"\xff"'])
def test_an_answer_of_another_shape_raises_refused(decode: Callable[[bytes], object], body: bytes) -> None:
    with pytest.raises(Refused, match="check that a roomcast server answers at this URL"):
        decode(body)


def test_a_ticket_that_cannot_be_read_is_not_shown() -> None:
    with pytest.raises(Refused) as raised:
        ticket(b'{"ticket": "rct1_x", "ends_in": "soon"}')
    assert "rct1_" not in str(raised.value)


@pytest.mark.parametrize("type", ["message", "gap", "live"])
def test_an_event_that_roomcast_does_not_send_raises_refused(type: str) -> None:
    with pytest.raises(Refused, match="this answer is not from roomcast: 'x'"):
        from_event(Event(type, "x", ""))


def test_json_that_is_already_encoded_is_sent_as_it_is() -> None:
    asked = request.publish(BASE, {"room": "a", "data": msgspec.Raw(b'{"a": 1.0}')}, None)
    assert asked.body == b'{"room":"a","data":{"a": 1.0}}'


def test_the_signature_of_publish_names_the_missing_value() -> None:
    assert "data: 'Any' = UNSET" in str(inspect.signature(Client.publish))


def test_none_is_a_value_of_data_and_of_no_other_field() -> None:
    assert request.publication("a", text=None, data=None, user=None) == {"room": "a", "data": None}
    assert request.publication("a", text="x", data=request.UNSET) == {"room": "a", "text": "x"}
