"""Compares our decoder of event streams with others on the same bytes: `python -m benchmarks.decoders`.

Messages of 1 KB, framed as roomcast frames them. Each decoder turns pieces of bytes into events, called as its
users call it. httpx-sse therefore reads an httpx response; its decoder is also measured alone, without httpx. The
decoders take turns, and the least CPU time of many turns counts: other work on the machine makes a turn longer,
never shorter."""

from __future__ import annotations

import codecs
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import httpx
import httpx_sse
import sseclient
from httpx_sse._decoders import SSEDecoder, SSELineDecoder

from roomcast.client.decode import Decoder
from roomcast.delivery.wire import EventStream
from roomcast.model.message import Message

MESSAGES = 2_000
TURNS = 30
BODY = b'{"room":"developers","user":"anonymous","text":"%b"}' % (b"was geht ab in buxtehude? " * 35)[:880]
Pieces = Sequence[bytes]


def _stream() -> list[bytes]:
    """The bytes of each message as the server writes it."""
    written = (Message(n, "developers", None, 1_795_328_820_123, 0, BODY) for n in range(1, MESSAGES + 1))
    return [EventStream.message("k7w2m9x4qa", message) for message in written]


def _cut(stream: bytes, size: Callable[[], int]) -> Iterator[bytes]:
    """Yields the `stream` in pieces of these sizes."""
    start = 0
    while start < len(stream):
        end = start + size()
        yield stream[start:end]
        start = end


def _roomcast(pieces: Pieces) -> int:
    decoder = Decoder()
    return sum(len(decoder.feed(piece)) for piece in pieces)


class _Body(httpx.SyncByteStream):
    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


def _httpx_sse(pieces: Pieces) -> int:
    response = httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=_Body(pieces))
    return sum(1 for _ in httpx_sse.EventSource(response).iter_sse())


def _httpx_sse_decoder(pieces: Pieces) -> int:
    text, lines, decoder = codecs.getincrementaldecoder("utf-8")("replace"), SSELineDecoder(), SSEDecoder()
    return sum(
        decoder.decode(line.rstrip("\n")) is not None
        for piece in pieces
        for line in lines.decode(text.decode(piece))
    )


def _sseclient(pieces: Pieces) -> int:
    return sum(1 for _ in sseclient.SSEClient(iter(pieces)).events())


DECODERS: Mapping[str, Callable[[Pieces], int]] = {
    "roomcast": _roomcast,
    "httpx-sse": _httpx_sse,
    "its decoder alone": _httpx_sse_decoder,
    "sseclient-py": _sseclient,
}


def _cases() -> Mapping[str, Pieces]:
    """Returns the same stream in pieces of several sizes."""
    messages, chance = _stream(), random.Random(1)
    whole = b"".join(messages)
    return {
        "64 KiB at a time": [*_cut(whole, lambda: 65_536)],
        "1 B to 64 KiB, at random": [*_cut(whole, lambda: chance.randint(1, 65_536))],
        "1 B to 32 KiB, at random": [*_cut(whole, lambda: chance.randint(1, 32_768))],
        "1 B to 8 KiB, at random": [*_cut(whole, lambda: chance.randint(1, 8_192))],
        "1 B to 2 KiB, at random": [*_cut(whole, lambda: chance.randint(1, 2_048))],
        "a message at a time": messages,
    }


def _turn(decode: Callable[[Pieces], int], pieces: Pieces) -> float:
    """Returns the CPU time for a message, in µs."""
    began = time.process_time()
    assert decode(pieces) == MESSAGES
    return (time.process_time() - began) * 1e6 / MESSAGES


def main() -> None:
    """Prints the table: µs for a message, and how many times ours that is."""
    print("| pieces |", " | ".join(DECODERS), "|\n| --- |", " --- |" * len(DECODERS))
    for name, pieces in _cases().items():
        turns = [[_turn(decode, pieces) for decode in DECODERS.values()] for _ in range(TURNS)]
        times = [min(spent) for spent in zip(*turns, strict=True)]
        cells = [f"{times[0]:.2f} µs", *(f"{spent:.2f} µs, × {spent / times[0]:.1f}" for spent in times[1:])]
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
