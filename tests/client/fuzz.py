"""Fuzzes the decoder, guided by coverage (atheris, libFuzzer), with pieces of all sizes: the slow decoder must
agree. `python -m tests.client.fuzz FOLDER -max_total_time=60`; FOLDER keeps inputs for the next run.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["roomcast.client.decode", "roomcast.client.blocks"]):
    import roomcast.client.decode  # noqa: F401 - it is instrumented only if this is its first import

from tests.client import slowly
from tests.client.test_decode import CASES, fed, stream_of

_SIZES = 4
"""The first bytes are the sizes of the pieces, in turn."""


def check(data: bytes) -> None:
    """Raises if the two decoders differ."""
    stream = data[_SIZES:]
    assert fed(_pieces(stream, data[:_SIZES])) == slowly.decode(stream)


def _pieces(stream: bytes, sizes: bytes) -> Iterator[bytes]:
    start = 0
    for size in itertools.cycle(sizes):
        yield stream[start : start + size + 1]
        start += size + 1
        if start >= len(stream):
            return


def main(folder: Path, *options: str) -> None:
    """Runs the fuzzer. Its first inputs are the vectors, whole and in small pieces."""
    for number, case in enumerate(CASES):
        for name, sizes in (("whole", b"\xff"), ("pieces", b"\x01")):
            (folder / f"{number}-{name}").write_bytes(sizes * _SIZES + stream_of(case))
    atheris.Setup([sys.argv[0], *options, str(folder)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
