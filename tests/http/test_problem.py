"""Errors as answers."""

from __future__ import annotations

import json

import pytest

from roomcast.http.problem import problem
from roomcast.model.errors import Fault, InvalidToken, RoomcastError, Unauthenticated


@pytest.mark.parametrize(
    ("error", "challenge", "title"),
    [
        (InvalidToken("not valid", reason="unknown key"), ', error="invalid_token"', InvalidToken().title),
        (InvalidToken("expired"), ', error="invalid_token"', InvalidToken().title),
        (Unauthenticated("not valid"), "", Unauthenticated().title),
        (Unauthenticated("x", [Fault("/a", "b")]), "", Unauthenticated().title),
    ],
)
def test_a_repeated_refusal_is_the_same(error: RoomcastError, challenge: str, title: str) -> None:
    first, again = problem(error), problem(error)
    assert first is not again
    assert (first.body, [*first.own]) == (again.body, [*again.own])
    assert [*first.own] == [(b"www-authenticate", b'Bearer realm="roomcast"' + challenge.encode())]
    told = json.loads(first.body)
    assert (told["status"], told["title"], told["detail"]) == (401, title, error.detail)
    assert len(told["errors"]) == len(error.faults)
    assert "unknown key" not in first.body.decode()
