"""A group of appends as one call, and the answers from its result. No database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from roomcast.log.append_queue import AppendAnswer, AppendRequest, PendingAppend
from roomcast.log.base import Appended, Idempotency
from roomcast.log.postgresql.groups import AppendGroup
from roomcast.model.errors import KeyReused, LogUnavailable, TooLarge
from roomcast.model.message import Draft
from roomcast.model.retention import Retention, RoomRule, RoomRules
from tests.log.steps import draft, key, seqs

Request = tuple[Sequence[Draft], Idempotency | None]


def group(*requests: Request, retention: Retention = Retention(), rules: Sequence[RoomRule] = ()) -> AppendGroup:  # noqa: B008 -- frozen
    pending = [PendingAppend.for_request(AppendRequest(drafts, idempotency)) for drafts, idempotency in requests]
    return AppendGroup(pending, retention, RoomRules(tuple(rules)))


def result(**more: Any) -> dict[str, Any]:
    """The result of an append that stored messages from 5 on."""
    nothing = dict.fromkeys(["known_requests", "known_digests", "known_firsts", "known_counts", "known_ats"])
    return {"first": 5, "stored_at": 9, "prevs": [1, 5, 0, 0, 0, 0], "again": False, **nothing, **more}


def known(request: int, first: int, digest: bytes = b"digest") -> dict[str, Any]:
    """The columns of a result that say that the key of one request was known."""
    return {
        "known_requests": [request],
        "known_digests": [digest],
        "known_firsts": [first],
        "known_counts": [1],
        "known_ats": [3],
    }


def stored_by(answer: AppendAnswer) -> tuple[list[int], bool]:
    assert isinstance(answer, Appended)
    return seqs(answer.messages), answer.repeated


async def test_all_messages_go_in_one_call_with_the_number_of_their_request() -> None:
    parameters = group(
        ([draft("a", b"1"), draft("b", b"2", "t")], None), ([draft("a", b"3")], key("k"))
    ).parameters()
    rooms, types, bodies, requests, *keys = parameters
    assert (rooms, types, bodies) == (["a", "b", "a"], [None, "t", None], [b"1", b"2", b"3"])
    assert requests == [0, 0, 1]
    assert keys == [[1], [""], ["k"], [b"digest"]]


async def test_each_append_gets_its_own_messages_from_the_result() -> None:
    stored, answers = group(([draft("a"), draft("a")], None), ([draft("b")], None)).answers(result())
    assert [(message.seq, message.room, message.prev) for message in stored] == [
        (5, "a", 1),
        (6, "a", 5),
        (7, "b", 0),
    ]
    assert {message.stored_at for message in stored} == {9}
    assert [stored_by(answer) for answer in answers] == [([5, 6], False), ([7], False)]


async def test_of_two_requests_with_one_key_only_the_first_is_sent_and_both_get_its_messages() -> None:
    appends = group(([draft()], key("k")), ([draft()], key("k")), ([draft()], None))
    assert appends.parameters()[3] == [0, 2]
    stored, answers = appends.answers(result())
    assert [stored_by(answer) for answer in answers] == [([5], False), ([5], True), ([6], False)]
    assert seqs(stored) == [5, 6]


async def test_a_key_of_the_same_group_with_another_request_is_refused() -> None:
    _, [first, second] = group(([draft()], key("k")), ([draft()], key("k", b"other"))).answers(result())
    assert stored_by(first) == ([5], False)
    assert isinstance(second, KeyReused)


async def test_a_request_whose_key_the_log_knows_gets_the_earlier_messages() -> None:
    appends = group(([draft()], key("k")), ([draft()], key("k", b"other")), ([draft()], None))
    stored, [again, reused, new] = appends.answers(result(**known(0, 2)))
    assert stored_by(again) == ([2], True)
    assert isinstance(reused, KeyReused)
    assert stored_by(new) == ([5], False)
    assert seqs(stored) == [5]


async def test_a_group_whose_first_answer_was_lost_is_no_repetition_of_itself() -> None:
    appends = group(([draft()], key("k")), ([draft()], None))
    stored, answers = appends.answers(result(again=True, prevs=[1], **known(0, 5)))
    assert [stored_by(answer) for answer in answers] == [([5], False), ([6], False)]
    assert [message.prev for message in stored] == [1, 0]  # the row of 6 is gone already


@pytest.mark.parametrize(
    ("retention", "rules", "says"),
    [
        (Retention(1), (), "the log retains 1"),
        (Retention(), (RoomRule("a", max_messages=1),), "2 messages for a, and it retains 1"),
    ],
)
async def test_a_request_that_is_too_large_is_not_sent_and_refused(
    retention: Retention, rules: Sequence[RoomRule], says: str
) -> None:
    appends = group(([draft(), draft()], None), ([draft("b")], None), retention=retention, rules=rules)
    assert appends.parameters()[3] == [1]
    stored, [refused, other] = appends.answers(result())
    assert isinstance(refused, TooLarge)
    assert says in refused.detail
    assert stored_by(other) == ([5], False)
    assert seqs(stored) == [5]


async def test_a_request_that_became_too_large_gets_the_messages_that_its_key_stored_before() -> None:
    appends = group(([draft(), draft()], key("k")), retention=Retention(1))
    assert appends.parameters() == ([], [], [], [], [0], [""], ["k"], [b"digest"])
    _, [again] = appends.answers(result(**known(0, 2)))
    assert stored_by(again) == ([2, 3], True)


async def test_a_key_stands_for_the_first_of_its_requests_that_can_be_stored() -> None:
    appends = group(([draft(), draft()], key("k")), ([draft()], key("k")), retention=Retention(1))
    *_, sent = appends.parameters()[:4]
    assert sent == appends.parameters()[4] == [1]


async def test_an_empty_group_of_messages_is_sent_as_empty_columns() -> None:
    appends = group(([], None))
    assert appends.parameters() == ([], [], [], [], [], [], [], [])
    assert [stored_by(answer) for answer in appends.answers(result(prevs=None))[1]] == [([], False)]


async def test_one_error_answers_the_whole_group() -> None:
    appends = group(([draft()], None), ([draft()], key("k")))
    appends.refuse(LogUnavailable("away"))
    found = await asyncio.gather(*(one.answer for one in appends.pending), return_exceptions=True)
    assert [str(error) for error in found] == ["away", "away"]
