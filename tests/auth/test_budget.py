"""What bad credentials cost: whoever sends them, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from roomcast.auth import rights as module
from roomcast.auth.budget import Budget
from roomcast.auth.credentials import of_authorization
from roomcast.auth.limits import BUCKETS
from roomcast.auth.rights import Rights
from roomcast.auth.tokens import issuers
from roomcast.auth.tokens.issuer import of_secrets, signed_by
from roomcast.auth.tokens.issuers import Issuers
from roomcast.auth.tokens.jose import Key
from roomcast.auth.tokens.text import Parts
from roomcast.model.errors import BadCredential, InvalidToken, RightsUnavailable, TooManyBad
from tests.auth.signing import token
from tests.auth.test_token_attacks import NOW, OWN, SECRET, SECRETS

FLOODER, HONEST = "192.0.2.66", "192.0.2.1"
JUDGING = 0.000_1
"""Seconds that a signature of the flood takes, as of ES256."""


class Clock:
    """A time that passes when somebody says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def budget(clock: Clock) -> Budget:
    return Budget(clock)


@pytest.fixture
def server(clock: Clock, budget: Budget, monkeypatch: pytest.MonkeyPatch) -> Rights:
    """Rights whose tokens take `JUDGING` to verify, and nothing else takes any time."""

    def verify(keys: Sequence[Key], parts: Parts) -> Key | None:
        clock.now += JUDGING
        return signed_by(keys, parts)

    monkeypatch.setattr(issuers, "signed_by", verify)
    monkeypatch.setattr(module, "thread_time", clock)
    one = Rights(issuers=Issuers([], of_secrets(SECRETS)))
    one._budget = budget
    return one


def asked(server: Rights, credential: str, client: str) -> type[Exception] | None:
    """How it is refused; None where it is good."""
    try:
        server.whose(f"Bearer {credential}".encode(), of_authorization, NOW, lambda: client)
    except (BadCredential, InvalidToken, RightsUnavailable, TooManyBad) as error:
        return type(error)
    return None


def bad() -> Iterator[str]:
    """Tokens that are good but for their signature, each another one."""
    number = 0
    while True:
        number += 1
        yield token({**OWN, "jti": number}, key=b"x" * 32)


def test_a_flood_of_one_address_costs_others_nothing(server: Rights, clock: Clock) -> None:
    """10,000 tokens in a second whose signature takes 0.1 ms would else take all of it."""
    flood, told = bad(), []
    for number in range(3_000):
        clock.now += 0.000_1
        told.append(asked(server, next(flood), FLOODER))
        if number % 100 == 0:
            new = token({**OWN, "jti": f"honest {number}"}, key=SECRET)
            assert asked(server, new, HONEST) is None
            assert asked(server, token({**OWN, "jti": number}, key=b"y" * 32), HONEST) is InvalidToken
    assert told[:500] == [InvalidToken] * 500
    assert set(told[1_000:]) == {InvalidToken, TooManyBad}
    assert told.count(InvalidToken) < 1_000


def test_who_floods_still_gets_in_with_what_was_good_before(server: Rights) -> None:
    known, new = (token({**OWN, "jti": jti}, key=SECRET) for jti in ("known", "new"))
    assert asked(server, known, FLOODER) is None
    flood = bad()
    while asked(server, next(flood), FLOODER) is not TooManyBad:
        pass
    assert asked(server, known, FLOODER) is None
    assert asked(server, new, FLOODER) is TooManyBad


def test_a_flood_that_has_ended_is_forgotten(budget: Budget, clock: Clock) -> None:
    budget.charge(FLOODER, 1.0)
    with pytest.raises(TooManyBad, match="send one that is, in 46 s") as refused:
        budget.check(FLOODER)
    clock.now += refused.value.retry_after
    budget.check(FLOODER)


def test_a_flood_of_many_addresses_holds_up_strangers_only(server: Rights) -> None:
    assert asked(server, token(OWN, key=SECRET), HONEST) is None
    flood, number = bad(), 0
    while asked(server, next(flood), f"198.51.100.{number}") is not RightsUnavailable:
        number += 1
    assert number < 3_000
    assert asked(server, token({**OWN, "jti": "new"}, key=SECRET), HONEST) is None
    assert asked(server, token({**OWN, "jti": "newer"}, key=SECRET), "203.0.113.9") is RightsUnavailable


@pytest.mark.parametrize("credential", ["rck_x_" + "y" * 43, "rct1_" + "y" * 200, "y", "y.y.y", "y y"])
def test_every_kind_of_bad_credential_counts(server: Rights, credential: str) -> None:
    told = [asked(server, credential, FLOODER) for _ in range(5_000)]
    assert told[0] in (InvalidToken, BadCredential)
    assert told[-1] is TooManyBad


def test_what_is_remembered_of_addresses_is_bounded(budget: Budget) -> None:
    for number in range(BUCKETS + 100):
        budget.charge(f"bad {number}", 0.0)
        budget.trust(f"good {number}")
    assert len(budget._each) == len(budget._trusted) == BUCKETS


def test_a_credential_is_hashed_once(server: Rights, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed, fingerprint = [], module.fingerprint

    def noted(sent: bytes) -> bytes:
        hashed.append(sent)
        return fingerprint(sent)

    monkeypatch.setattr(module, "fingerprint", noted)
    assert asked(server, token(OWN, key=SECRET), HONEST) is None
    assert len(hashed) == 1
