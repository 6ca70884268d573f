"""The decoder, tested with vectors that other languages read as well, and against a slow decoder."""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomcast.client.decode import Comment, Decoder, Endless, Event, Retry
from roomcast.delivery.wire import EventStream
from roomcast.model.message import Message
from tests.client import slowly
from tests.client.slowly import Decoded

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "spec/event_stream.json").read_text("utf-8")
)["cases"]


def stream_of(case: dict[str, Any]) -> bytes:
    pieces = (bytes.fromhex(p["hex"]) if isinstance(p, dict) else p.encode() for p in case["input"])
    return b"".join(pieces)


def expected(case: dict[str, Any]) -> Decoded:
    events = [(event["type"], event["data"], event["id"]) for event in case["events"]]
    return Decoded(events, case.get("comments", []), case["retry"], case["last_event_id"])


def fed(pieces: Iterable[bytes]) -> Decoded:
    decoder = Decoder()
    items = [item for piece in pieces for item in decoder.feed(piece)]
    retries = [item.ms for item in items if isinstance(item, Retry)]
    return Decoded(
        [(item.type, item.data, item.id) for item in items if isinstance(item, Event)],
        [item.text for item in items if isinstance(item, Comment)],
        retries[-1] if retries else None,
        decoder.last_event_id,
    )


def cut(stream: bytes, seed: int, longest: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    while stream:
        size = chance.randint(1, longest)
        yield stream[:size]
        stream = stream[size:]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
class TestVectors:
    def test_whole(self, case: dict[str, Any]) -> None:
        assert fed([stream_of(case)]) == expected(case)

    def test_byte_by_byte(self, case: dict[str, Any]) -> None:
        stream = stream_of(case)
        assert fed(stream[n : n + 1] for n in range(len(stream))) == expected(case)

    def test_cut_at_every_place_once(self, case: dict[str, Any]) -> None:
        stream = stream_of(case)
        for place in range(0, len(stream), 1 + len(stream) // 200):
            assert fed([stream[:place], b"", stream[place:]]) == expected(case), place

    def test_cut_at_random(self, case: dict[str, Any]) -> None:
        stream = stream_of(case)
        for seed in range(20):
            assert fed(cut(stream, seed, 1 + len(stream) // (1 + seed % 7))) == expected(case), seed

    def test_the_slow_decoder_agrees(self, case: dict[str, Any]) -> None:
        assert slowly.decode(stream_of(case)) == expected(case)


LINES = st.sampled_from([b"data: x", b"data:", b"data", b"id: 7", b"id: 8\0", b"id", b"event: a", b"event: "])
OTHER_LINES = st.sampled_from(
    [b":", b": hi", b"retry: 10", b"retry: 1x", b"data:  \xc3", b"\xef\xbb\xbfdata: y", b"x"]
)
ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\n\r"])
SCRAPS = st.sampled_from(
    [b"\n", b"\r", b":", b" ", b"\0", b"data", b"id: ", b"\xef", b"\xbb", b"\xbf", b"\xe2\x82"]
)
BLOCKS = st.sampled_from(
    [b"id: 1\ndata: a\n\n", b"data: b\n\n", b"id: 2\nevent: t\ndata: c\n\n", b"event: u\ndata: d\n\n"]
)
STREAMS = st.lists(
    st.one_of(
        st.builds(bytes.__add__, LINES | OTHER_LINES, ENDS),
        st.builds(bytes.__mul__, BLOCKS, st.integers(1, 20)),
        SCRAPS,
        st.binary(max_size=8),
    ),
    max_size=30,
).map(b"".join)


@settings(max_examples=500, deadline=None)
@given(STREAMS, st.lists(st.integers(0, 2000), max_size=12))
def test_it_agrees_with_the_slow_decoder_on_any_bytes_in_any_pieces(stream: bytes, places: list[int]) -> None:
    edges = [0, *sorted(min(place, len(stream)) for place in places), len(stream)]
    pieces = [stream[a:b] for a, b in itertools.pairwise(edges)]
    assert fed(pieces) == slowly.decode(stream)


@given(st.lists(st.tuples(st.sampled_from([None, "order.paid"]), st.text().map(str.strip)), max_size=40))
def test_it_reads_the_servers_blocks(messages: list[tuple[str | None, str]]) -> None:
    bodies = [json.dumps({"room": "r", "text": text}, separators=(",", ":")).encode() for _, text in messages]
    written = [
        EventStream.message("abcd", Message(n, "r", type, 1, 0, body))
        for n, ((type, _), body) in enumerate(zip(messages, bodies, strict=True), 1)
    ]
    read = fed([b"".join(written)]).events
    assert [(type, id) for type, _, id in read] == [
        (type or "message", f"abcd-{n}") for n, (type, _) in enumerate(messages, 1)
    ]
    assert [json.loads(data)["text"] for _, data, _ in read] == [text for _, text in messages]


def test_an_event_comes_with_the_byte_that_ends_it() -> None:
    for end in (b"\n", b"\r"):
        decoder = Decoder()
        stream = b"data: x" + end
        assert [item for n in range(len(stream)) for item in decoder.feed(stream[n : n + 1])] == []
        assert decoder.feed(end) == [Event("message", "x", "")]


def test_comments_and_retries_come_with_their_line_and_not_with_the_block() -> None:
    decoder = Decoder()
    assert decoder.feed(b"data: x\n: beat\n") == [Comment(" beat")]
    assert decoder.feed(b"retry: 5\r") == [Retry(5)]
    assert decoder.feed(b"\n\n") == [Event("message", "x", "")]


def test_it_starts_with_the_last_id_of_the_stream_before() -> None:
    decoder = Decoder("a-7")
    assert decoder.feed(b"data: x\n\nid: b") == [Event("message", "x", "a-7")]
    assert decoder.last_event_id == "a-7"


@pytest.mark.parametrize("size", [1, 100, 5000])
@pytest.mark.parametrize("line", [b"data: ", b":", b"", b"id: ", b"retry: "])
def test_an_endless_line_raises_endless(line: bytes, size: int) -> None:
    decoder = Decoder(max_block=10_000)
    decoder.feed(line)
    for _ in range((10_000 - len(line)) // size):
        assert decoder.feed(b"1" * size) == ()
    with pytest.raises(Endless, match="more than 10000 bytes"):
        decoder.feed(b"1" * size)


@pytest.mark.parametrize("together", [1, 100])
def test_an_endless_block_raises_endless(together: int) -> None:
    decoder = Decoder(max_block=10_000)
    piece = b"data: 1234\n" * together
    for _ in range(10_000 // len(piece)):
        assert decoder.feed(piece) == []
    with pytest.raises(Endless):
        decoder.feed(piece)


def test_a_too_large_block_in_one_piece_raises_endless() -> None:
    blocks = b"data: x\n\n" * 50
    for large in (b"data: %b\n\n" % (b"x" * 10_001), b"data: x\n" * 2_000 + b"\n"):
        with pytest.raises(Endless):
            Decoder(max_block=10_000).feed(blocks + large + blocks)


def test_an_endless_stream_of_small_items_is_no_error() -> None:
    decoder = Decoder(max_block=100)
    for _ in range(100):
        assert decoder.feed(b": heartbeat\n" * 20) == [Comment(" heartbeat")] * 20
        assert len(decoder.feed(b"data: 12345678901234567890\n\n" * 20)) == 20


def test_a_long_line_in_small_pieces_takes_time_in_proportion() -> None:
    """8 MB in pieces of 64 bytes: copying the line for each piece would move 500 GB."""
    decoder = Decoder()
    began = time.process_time()
    decoder.feed(b"data: ")
    for _ in range(8_000_000 // 64):
        decoder.feed(b"x" * 64)
    [event] = decoder.feed(b"\n\n")
    assert isinstance(event, Event)
    assert len(event.data) == 8_000_000
    assert time.process_time() - began < 20


def test_a_retry_of_very_many_digits_is_a_long_time() -> None:
    assert Decoder().feed(b"retry: " + b"9" * 10_000 + b"\n") == [Retry(10**12)]
    assert Decoder().feed(b"retry: " + b"0" * 10_000 + b"5\n") == [Retry(5)]


@pytest.mark.parametrize("blocks", [3, 8])
def test_blocks_without_data_give_no_event_and_set_the_last_id(blocks: int) -> None:
    """Few blocks and many, which the decoder reads in different ways."""
    stream = b"".join(b"id: %d\nevent: x\n\n" % number for number in range(blocks))
    decoder = Decoder()
    assert list(decoder.feed(stream)) == []
    assert decoder.last_event_id == str(blocks - 1)
    assert list(decoder.feed(b"data: y\n\n")) == [Event("message", "y", str(blocks - 1))]


def test_a_block_without_data_between_others_gives_no_event() -> None:
    stream = b"id: 1\ndata: a\n\nid: 2\nevent: x\n\nid: 3\ndata: c\n\n"
    assert list(Decoder().feed(stream)) == [Event("message", "a", "1"), Event("message", "c", "3")]
