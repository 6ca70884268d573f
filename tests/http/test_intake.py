"""The memory of all requests being received, and the senders that are closed if it is too much."""

from __future__ import annotations

from collections import Counter

import pytest

from roomcast.http.intake import MEMORY, Intake

KIB = 1024


class Sender:
    """A sender that holds bytes."""

    def __init__(self) -> None:
        self.is_shed = False

    def shed(self) -> None:
        self.is_shed = True


@pytest.fixture
def closed() -> Counter[str]:
    return Counter()


@pytest.fixture
def intake(closed: Counter[str]) -> Intake:
    return Intake(100 * KIB, closed)


def shed(senders: list[Sender]) -> list[int]:
    return [number for number, one in enumerate(senders) if one.is_shed]


def test_the_slowest_sender_is_closed_and_a_fast_one_stays(intake: Intake, closed: Counter[str]) -> None:
    senders = [Sender() for _ in range(3)]
    for sender in senders:
        intake.hold(sender, 20 * KIB)
    intake.hold(senders[0], 40 * KIB)
    intake.hold(senders[2], 50 * KIB)
    assert (shed(senders), closed[MEMORY]) == ([1], 1)


def test_sending_a_byte_now_and_then_does_not_make_a_sender_fast(intake: Intake) -> None:
    senders = [Sender() for _ in range(2)]
    for sender in senders:
        intake.hold(sender, 40 * KIB)
    intake.hold(senders[0], 40 * KIB + 1)
    intake.hold(senders[1], 60 * KIB)
    assert shed(senders) == [0]


def test_a_single_sender_may_hold_a_whole_request(intake: Intake) -> None:
    sender = Sender()
    intake.hold(sender, 500 * KIB)
    assert not sender.is_shed
    intake.hold(Sender(), 1)
    assert sender.is_shed


def test_released_bytes_are_no_longer_held(intake: Intake) -> None:
    sender = Sender()
    for _ in range(2):
        intake.hold(sender, 500 * KIB)
        intake.hold(sender, 0)
        intake.hold(sender, 0)
    assert intake.held == 0


def test_many_senders_of_few_bytes_are_bounded_too(intake: Intake, closed: Counter[str]) -> None:
    senders = [Sender() for _ in range(1_000)]
    for sender in senders:
        intake.hold(sender, 1)
    assert closed[MEMORY] > 900
    assert shed(senders) == list(range(closed[MEMORY]))
