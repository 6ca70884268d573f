"""A burst of messages, split into the runs that are written one by one."""

from __future__ import annotations

import pytest

from roomcast.delivery.piece import ENTRY_BYTES, PIECE_BYTES, Entry, split
from tests.delivery.fakes import message

HALF = PIECE_BYTES // 2


@pytest.mark.parametrize(
    ("sizes", "lengths"),
    [
        ([], []),
        ([PIECE_BYTES - 1], [1]),
        ([HALF] * 4, [2, 2]),
        ([HALF, HALF - 1, HALF], [3]),
        ([HALF, HALF, PIECE_BYTES - 1, HALF], [2, 2]),
        ([3 * PIECE_BYTES, HALF], [1, 1]),
    ],
)
def test_a_run_ends_with_the_message_that_reaches_the_size_of_a_piece(
    sizes: list[int], lengths: list[int]
) -> None:
    """A message counts with half of what its entry takes."""
    burst = [Entry(message(seq, body=b"x" * (size - ENTRY_BYTES // 2))) for seq, size in enumerate(sizes, 1)]
    runs = list(split(burst))
    assert [len(run) for run in runs] == lengths
    assert [entry for run in runs for entry in run] == burst
