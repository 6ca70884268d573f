"""Bad credentials cost time only to those who send them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from roomcast.auth import rights as module
from roomcast.auth.budget import BadCredentialBudget
from roomcast.auth.credentials import of_authorization
from roomcast.auth.principal_cache import fingerprint
from roomcast.auth.rate_limiter import BUCKETS
from roomcast.auth.rights import ConfiguredRights
from roomcast.auth.tickets import Grantor
from roomcast.auth.tokens import issuer
from roomcast.auth.tokens.fetch import CannotFetch, Fetched
from roomcast.auth.tokens.issuer import TokenIssuer, of_secrets
from roomcast.auth.tokens.issuers import Issuers
from roomcast.auth.tokens.jose import verifies
from roomcast.auth.tokens.jwks import Jwks
from roomcast.model.errors import BadCredential, InvalidToken, RightsUnavailable, TooManyBad
from tests.auth.signing import token
from tests.auth.test_token_attacks import NOW, OWN, SECRET, SECRETS

FLOODER, HONEST = "192.0.2.66", "192.0.2.1"
JUDGING = 0.000_1
"""Seconds that a signature of the flood takes, as of ES256."""


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def budget(clock: Clock) -> BadCredentialBudget:
    return BadCredentialBudget(clock)


@pytest.fixture
def server(clock: Clock, budget: BadCredentialBudget, monkeypatch: pytest.MonkeyPatch) -> ConfiguredRights:
    """Rights whose tokens take `JUDGING` to verify, while nothing else takes any time."""

    def verify(*signed: Any) -> bool:
        clock.now += JUDGING
        return verifies(*signed)

    monkeypatch.setattr(issuer, "verifies", verify)
    monkeypatch.setattr(module, "thread_time", clock)
    one = ConfiguredRights(issuers=Issuers([], of_secrets(SECRETS)))
    one._budget = budget
    return one


def asked(server: ConfiguredRights, credential: str, client: str) -> type[Exception] | None:
    """The error that refuses the credential; None if it is accepted."""
    try:
        server.identify_sent(f"Bearer {credential}".encode(), of_authorization, NOW, lambda: client)
    except (BadCredential, InvalidToken, RightsUnavailable, TooManyBad) as error:
        return type(error)
    return None


def bad() -> Iterator[str]:
    """Tokens with a wrong signature, each one different."""
    number = 0
    while True:
        number += 1
        yield token({**OWN, "jti": number}, key=b"x" * 32)


def test_a_flood_of_one_address_costs_others_nothing(server: ConfiguredRights, clock: Clock) -> None:
    """Otherwise 10,000 tokens a second whose signature takes 0.1 ms would take all of the time."""
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


def test_a_flooder_is_still_served_with_a_cached_credential(server: ConfiguredRights) -> None:
    known, new = (token({**OWN, "jti": jti}, key=SECRET) for jti in ("known", "new"))
    assert asked(server, known, FLOODER) is None
    flood = bad()
    while asked(server, next(flood), FLOODER) is not TooManyBad:
        pass
    assert asked(server, known, FLOODER) is None
    assert asked(server, new, FLOODER) is TooManyBad


def test_a_flood_that_has_ended_is_forgotten(budget: BadCredentialBudget, clock: Clock) -> None:
    budget.charge(FLOODER, 1.0)
    with pytest.raises(TooManyBad, match="send a valid one in 46 s") as refused:
        budget.check(FLOODER)
    clock.now += refused.value.retry_after
    budget.check(FLOODER)


def test_a_flood_of_many_addresses_holds_up_strangers_only(server: ConfiguredRights) -> None:
    assert asked(server, token(OWN, key=SECRET), HONEST) is None
    flood, number = bad(), 0
    while number < 3_000 and asked(server, next(flood), f"198.51.100.{number}") is not RightsUnavailable:
        number += 1
    assert number < 3_000
    assert asked(server, token({**OWN, "jti": "new"}, key=SECRET), HONEST) is None
    assert asked(server, token({**OWN, "jti": "newer"}, key=SECRET), "203.0.113.9") is RightsUnavailable


async def test_a_flood_of_tokens_whose_key_may_yet_be_fetched_counts_too() -> None:
    """Anybody can write such tokens, and have a signature of each verified."""

    async def get(url: str) -> Fetched:
        raise CannotFetch("its status is 500")

    source = Jwks("https://a.example/jwks", get)
    one = ConfiguredRights(issuers=Issuers([TokenIssuer(Grantor(""), source, frozenset(["ES256"]))]))
    flood = (token({**OWN, "jti": number}, key=b"x" * 32, header={"alg": "ES256"}) for number in range(5_000))
    outcomes = {asked(one, text, FLOODER) for text in flood}
    await source.fetched()
    assert outcomes == {RightsUnavailable, TooManyBad}


@pytest.mark.parametrize("credential", ["rck_x_" + "y" * 43, "rct1_" + "y" * 200, "y", "y.y.y", "y y"])
def test_every_kind_of_bad_credential_counts(server: ConfiguredRights, credential: str) -> None:
    told = [asked(server, credential, FLOODER) for _ in range(5_000)]
    assert told[0] in (InvalidToken, BadCredential)
    assert told[-1] is TooManyBad


def test_the_memory_for_addresses_is_bounded(budget: BadCredentialBudget) -> None:
    for number in range(BUCKETS + 100):
        budget.charge(f"bad {number}", 0.0)
        budget.trust(f"good {number}")
    assert len(budget._each) == len(budget._trusted) == BUCKETS


def test_the_client_that_sent_a_good_credential_least_recently_is_forgotten(budget: BadCredentialBudget) -> None:
    for client in ("regular", *map(str, range(BUCKETS - 1)), "regular", "new"):
        budget.trust(client)
    budget.charge(FLOODER, 1.0)
    budget.check("regular")
    with pytest.raises(RightsUnavailable):
        budget.check("0")


def test_a_credential_is_hashed_once(server: ConfiguredRights, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = []

    def noted(sent: bytes) -> bytes:
        hashed.append(sent)
        return fingerprint(sent)

    monkeypatch.setattr(module, "fingerprint", noted)
    assert asked(server, token(OWN, key=SECRET), HONEST) is None
    assert len(hashed) == 1
