"""The bytes of a stream, in both formats and both framings."""

from __future__ import annotations

import json

import pytest

from roomcast.delivery.wire import WIRES, EventStream, Lines, Wire, wire
from roomcast.model.message import Message, MessageId

BODY = b'{"room":"a","user":"anonymous","text":"x"}'
AT = 1_795_328_820_123
JSON = b'{"id":"abcd-7","room":"a","user":"anonymous","text":"x","timestamp":"2026-11-22T06:27:00.123Z"}'
PLAIN = Message(7, "a", None, AT, 0, BODY)
TYPED = Message(7, "a", "order.paid", AT, 0, BODY)
ODD = Message(7, "a", "é\t𝔵", AT, 0, BODY)
POSITION = MessageId("abcd", 7)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (PLAIN, b"id: abcd-7\ndata: " + JSON + b"\n\n"),
        (TYPED, b"id: abcd-7\nevent: order.paid\ndata: " + JSON + b"\n\n"),
        (ODD, b"id: abcd-7\nevent: " + "é\t𝔵".encode() + b"\ndata: " + JSON + b"\n\n"),
    ],
)
def test_a_message_is_one_block_with_its_id_and_its_type(message: Message, expected: bytes) -> None:
    assert EventStream.message("abcd", message) == expected


def test_the_other_blocks_of_an_event_stream() -> None:
    assert (
        EventStream.event("live", POSITION, b'{"replayed":1}')
        == b'id: abcd-7\nevent: live\ndata: {"replayed":1}\n\n'
    )
    assert EventStream.retry(3000) == b"retry: 3000\n"
    assert EventStream.heartbeat == b":\n"


def test_a_line_is_an_object_with_event_id_and_data() -> None:
    for line, expected in [
        (Lines.message("abcd", PLAIN), {"event": "message", "id": "abcd-7", "data": json.loads(JSON)}),
        (Lines.message("abcd", TYPED), {"event": "message", "id": "abcd-7", "data": json.loads(JSON)}),
        (Lines.event("gap", POSITION, b"{}"), {"event": "gap", "id": "abcd-7", "data": {}}),
        (Lines.retry(3000), {"event": "retry", "id": None, "data": 3000}),
    ]:
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        assert json.loads(line) == expected
    assert Lines.heartbeat == b"\n"


@pytest.mark.parametrize("chunked", WIRES, ids=lambda wire: f"{wire.index}")
def test_a_frame_is_the_same_bytes_with_or_without_a_chunk_around(chunked: Wire) -> None:
    raw = wire(chunked.format.content_type, chunked=False)
    pairs = [
        (chunked.message("abcd", ODD), raw.message("abcd", ODD)),
        (chunked.event("live", POSITION, b"{}"), raw.event("live", POSITION, b"{}")),
        (chunked.retry(1), raw.retry(1)),
        (chunked.heartbeat, raw.heartbeat),
    ]
    for framed, bare in pairs:
        assert framed == (b"%x\r\n%b\r\n" % (len(bare), bare) if chunked.chunked else bare)
    assert chunked.end == (b"0\r\n\r\n" if chunked.chunked else b"")


def test_each_wire_is_found_by_its_format_and_framing() -> None:
    assert [wire(w.format.content_type, chunked=w.chunked) for w in WIRES] == list(WIRES)
    assert [w.index for w in WIRES] == list(range(4))


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("content_type", ["text/event-stream", "application/x-ndjson"])
def test_each_format_and_framing_has_its_wire(content_type: str, chunked: bool) -> None:
    found = wire(content_type, chunked=chunked)
    assert (found.format.content_type, found.chunked) == (content_type, chunked)
