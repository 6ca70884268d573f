"""Fuzzes the decoder by what its code does with the bytes (atheris, libFuzzer), in pieces of all sizes: the slow
one must agree. `python -m tests.client.fuzz FOLDER -max_total_time=60`; FOLDER keeps what is worth trying again.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["roomcast.client.decode"]):
    import roomcast.client.decode  # noqa: F401 - instrumented only where it is imported first here

from tests.client import slowly
from tests.client.test_decode import CASES, fed, stream_of

_SIZES = 4
"""Bytes at the beginning: the sizes of the pieces, in turn."""


def check(data: bytes) -> None:
    """Raises where the two decoders differ."""
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
    """Begins with the vectors, whole and in small pieces."""
    for number, case in enumerate(CASES):
        for name, sizes in (("whole", b"\xff"), ("pieces", b"\x01")):
            (folder / f"{number}-{name}").write_bytes(sizes * _SIZES + stream_of(case))
    atheris.Setup([sys.argv[0], *options, str(folder)], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
