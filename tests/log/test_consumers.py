"""What a consumer is told if the storage is ahead of the commits that it was told of."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from roomcast.log.consumers import Consumers
from roomcast.model.message import Message


def stored(*seqs: int) -> list[Message]:
    return [Message(seq, "a", None, seq, seq - 1, b"{}") for seq in seqs]


@pytest.mark.parametrize("holds", [True, False])
@pytest.mark.parametrize(
    ("there", "missed"),
    [([6, 7], 5), ([1, 2, 7], 4), ([1, 2, 3, 4, 5, 6, 7], 0), ([2], 1), ([], 7)],
    ids=["trimmed", "taken by a rule", "whole", "more to come", "all gone"],
)
async def test_messages_that_are_gone_before_they_are_fetched_are_missed_even_if_no_trimming_was_told(
    holds: bool, there: list[int], missed: int
) -> None:
    async def fetch(after: int) -> Sequence[Message]:
        return stored(*there)

    consumer = Consumers(7, 0, fetch, lambda: None).open("test", 0, holds=holds)
    batch = await anext(consumer)
    assert (list(batch.messages), batch.missed) == (stored(*there), missed)


async def test_a_missed_message_is_counted_once_however_it_is_told() -> None:
    async def fetch(after: int) -> Sequence[Message]:
        return stored(8, 9)

    feed = Consumers(4, 0, fetch, lambda: None)
    consumer = feed.open("test", 0)
    feed.push((), 5)
    feed.newest = 9
    assert (await anext(consumer)).missed == 5 + 2
    feed.push(stored(10), 7)
    assert (await anext(consumer)).missed == 0
