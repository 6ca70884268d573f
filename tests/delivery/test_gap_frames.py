"""A piece with gaps around its messages: where each gap stands, and what is left for the next piece."""

from __future__ import annotations

import json
import re

import pytest

from roomcast.delivery.gap import Missing, PendingGap
from roomcast.delivery.gap_frames import GapFrames
from roomcast.delivery.piece import Entry, Piece
from tests.delivery.fakes import RAW, messages

LEFT = PendingGap("test-1", ["b"], 2, "trimmed")


def lost(last: int) -> Missing:
    return Missing("a", last - 1, last, 1, False)


def piece(seqs: list[int], position: int) -> Piece:
    return Piece([Entry(message) for seq in seqs for message in messages(seq, seq)], position)


def told(frames: list[bytes]) -> str:
    """The ids of messages, and of gaps with the message that they resume at: `gap@4>5 5 6`."""
    found = []
    for id, name, data in re.findall(rb"id: test-(\d+)\n(?:event: (\w+)\n)?data: (.*)\n\n", b"".join(frames)):
        resumes_at = json.loads(data)["resumes_at"] if name else None
        found.append(f"gap@{int(id)}>{(resumes_at or 'none').removeprefix('test-')}" if name else f"{int(id)}")
    return " ".join(found)


@pytest.mark.parametrize(
    ("seqs", "missing", "left", "is_last", "expected", "after"),
    [
        ([5, 7, 9], [], None, False, "5 7 9", None),
        ([5, 7, 9], [6], None, False, "5 gap@6>7 7 9", None),
        ([5, 7, 9], [4, 6], None, False, "gap@4>5 5 gap@6>7 7 9", None),
        ([5, 9], [6, 7], None, False, "5 gap@8>9 9", None),
        ([5], [5, 6], None, False, "5", 2),
        ([5], [], LEFT, False, "gap@4>5 5", None),
        ([5], [4], LEFT, False, "gap@4>5 5", None),
        ([5], [7], LEFT, False, "gap@4>5 5", 1),
        ([5], [7], None, True, "5 gap@9>none", None),
        ([], [7], LEFT, True, "gap@9>none", None),
        ([], [7], LEFT, False, "", 3),
        ([], [], None, True, "", None),
    ],
)
def test_each_loss_is_told_before_the_first_message_after_it(
    seqs: list[int], missing: list[int], left: PendingGap | None, is_last: bool, expected: str, after: int | None
) -> None:
    counted: list[PendingGap] = []
    frames, gap = GapFrames(RAW, "test", (), counted.append).render(
        piece(seqs, 9), [lost(last) for last in missing], left, is_last=is_last
    )
    assert told(frames) == expected
    assert (gap and gap.lost_at_most) == after
    assert len(counted) == expected.count("gap")
    assert b"" not in frames


def test_messages_without_a_gap_between_them_are_the_bytes_that_all_readers_share() -> None:
    whole = piece([5, 7], 9)
    frames, _ = GapFrames(RAW, "test", (), lambda gap: None).render(whole, [lost(9)], None, is_last=True)
    assert frames[0] is whole.frames(RAW, "test")
