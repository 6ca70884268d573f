"""The keys of an issuer: when they are fetched, how long they are valid, and the outcome for tokens meanwhile."""

from __future__ import annotations

import asyncio
import time

import pytest

from roomcast.auth.guard import Guard, Mode
from roomcast.auth.rights import ConfiguredRights
from roomcast.auth.tickets import Grantor
from roomcast.auth.tokens.bad import BadToken, KeysUnavailable
from roomcast.auth.tokens.fetch import CannotFetch, Fetched
from roomcast.auth.tokens.issuer import TokenIssuer
from roomcast.auth.tokens.issuers import Issuers
from roomcast.auth.tokens.jose import VerifyingKey, of_jwk
from roomcast.auth.tokens.jwks import AGAIN_SECONDS, OUTLIVES_SECONDS, Jwks
from roomcast.auth.tokens.ring import for_algorithm, with_kid
from roomcast.model.errors import RightsUnavailable
from tests.auth.signing import jwk, token

NOW = 1_795_690_180.0
MINUTE, DAY = 60.0, 86_400.0


def key(kid: str | None, name: str = "", **more: object) -> VerifyingKey:
    found = of_jwk({**jwk("ES256", name, **more), "kid": kid} if kid else jwk("ES256", name, **more))
    assert found
    return found


class Provider:
    """A provider that answers with its keys, or is away."""

    def __init__(self, *keys: VerifyingKey, seconds: float = 300.0) -> None:
        self.keys = keys
        self.seconds = seconds
        self.is_away = False
        self.asked = 0

    async def get(self, url: str) -> Fetched:
        self.asked += 1
        await asyncio.sleep(0)
        if self.is_away:
            raise CannotFetch("its status is 500")
        return Fetched(self.keys, self.seconds, ())


class Asking:
    """Asks a source for the keys of tokens, at any time."""

    def __init__(self, provider: Provider) -> None:
        self.changes = 0
        self.source = Jwks("https://a.example/jwks", provider.get)
        self.source.changed = self._changed

    def _changed(self) -> None:
        self.changes += 1

    def ask(self, kid: str | None, now: float, first_sent: float | None = None) -> str:
        """The outcome for a token of ES256 that is sent for the first time, unless told otherwise."""
        try:
            found = self.source.candidates("ES256", kid, now if first_sent is None else first_sent, now)
        except KeysUnavailable:
            return "come back"
        except BadToken as error:
            return str(error)
        return f"{len(found)} tried"

    async def ask_until_told(self, kid: str, now: float, first_sent: float | None = None) -> str:
        """The outcome after the fetch that the first attempt has begun."""
        self.ask(kid, now, first_sent)
        await self.source.fetched()
        return self.ask(kid, now, first_sent)


async def test_the_first_token_begins_a_fetch_and_is_told_to_retry() -> None:
    provider = Provider(key("1"))
    asking = Asking(provider)
    assert asking.ask("1", NOW) == "come back"
    assert asking.ask("1", NOW) == "come back"
    await asking.source.fetched()
    assert asking.ask("1", NOW) == "1 tried"
    assert provider.asked == 1


async def test_11_ten_thousand_unknown_kids_cause_one_fetch_a_minute() -> None:
    provider = Provider(key("1"), seconds=DAY)
    asking = Asking(provider)
    assert await asking.ask_until_told("1", NOW) == "1 tried"
    for number in range(10_000):
        asking.ask(f"unknown {number}", NOW + number / 200)
        assert asking.ask("1", NOW + number / 200) == "1 tried"
    await asking.source.fetched()
    assert provider.asked == 1
    for number in range(10_000):
        asking.ask(f"unknown {number}", NOW + AGAIN_SECONDS + number / 200)
    await asking.source.fetched()
    assert provider.asked == 2


async def test_11_known_keys_work_while_the_source_is_away_and_unknown_ones_are_not_refused() -> None:
    provider = Provider(key("1"))
    asking = Asking(provider)
    assert await asking.ask_until_told("1", NOW) == "1 tried"
    provider.is_away = True
    for minute in range(60 * 24):
        now = NOW + 300 + minute * MINUTE
        assert await asking.ask_until_told("1", now) == "1 tried"
        assert asking.ask("2", now) == "come back"
    assert provider.asked <= 1 + 60 * 24


async def test_no_token_is_refused_for_its_key_while_the_source_is_away() -> None:
    provider = Provider(key("1"), seconds=DAY)
    asking = Asking(provider)
    assert await asking.ask_until_told("2", NOW, first_sent=NOW - 600) == "unknown kid '2'"
    provider.is_away = True
    assert await asking.ask_until_told("2", NOW + MINUTE, first_sent=NOW - 600) == "come back"
    never = Asking(provider)
    assert await never.ask_until_told("2", NOW, first_sent=NOW - 600) == "come back"


async def test_10_keys_outlive_a_failed_fetch_by_a_day() -> None:
    provider = Provider(key("1"))
    asking = Asking(provider)
    assert await asking.ask_until_told("1", NOW) == "1 tried"
    provider.is_away = True
    assert await asking.ask_until_told("1", NOW + 300 + OUTLIVES_SECONDS - 1) == "1 tried"
    assert await asking.ask_until_told("1", NOW + 300 + OUTLIVES_SECONDS) == "come back"
    provider.is_away = False
    assert await asking.ask_until_told("1", NOW + 300 + OUTLIVES_SECONDS + MINUTE) == "1 tried"


async def test_the_first_token_after_a_rotation_is_never_refused() -> None:
    """Not even right after a fetch, when no other is due: an EventSource that is refused never tries again."""
    provider = Provider(key("1"), seconds=DAY)
    asking = Asking(provider)
    assert await asking.ask_until_told("1", NOW) == "1 tried"
    provider.keys = (key("1"), key("2", "second"))
    for second in (1, 5, 30, 59):
        assert await asking.ask_until_told("2", NOW + second) == "come back"
    assert await asking.ask_until_told("2", NOW + AGAIN_SECONDS, NOW + 1) == "1 tried"
    assert asking.ask("1", NOW + AGAIN_SECONDS) == "1 tried"


async def test_a_token_without_kid_may_be_signed_by_a_newer_key() -> None:
    provider = Provider(key(None), seconds=DAY)
    asking = Asking(provider)
    await asking.ask_until_told("1", NOW)
    asking.source.check_newer("1", NOW, NOW + 1)  # a name is that of one key
    with pytest.raises(KeysUnavailable):
        asking.source.check_newer(None, NOW, NOW + 1)
    assert provider.asked == 1
    with pytest.raises(KeysUnavailable):
        asking.source.check_newer(None, NOW, NOW + 61)
    await asking.source.fetched()
    assert provider.asked == 2
    asking.source.check_newer(None, NOW, NOW + 62)  # the keys are newer than the token


async def test_a_token_with_an_unknown_key_is_refused_after_the_next_fetch() -> None:
    """Its time counts from its first attempt: counted from each one, it would be told to retry for ever."""
    source = Jwks("https://a.example/jwks", Provider(key("1"), seconds=DAY).get)
    issuers = Issuers([TokenIssuer(Grantor(""), source, frozenset(["ES256"]))])
    text = token({"sub": "42", "exp": NOW + 900}, "ES256", kid="2")
    for now in (NOW, NOW + 100):
        with pytest.raises(KeysUnavailable):
            issuers.verify(text, now)
        await source.fetched()
    with pytest.raises(BadToken, match="unknown kid '2'"):
        issuers.verify(text, NOW + 101)


async def test_an_unknown_kid_is_found_once_it_is_published() -> None:
    provider = Provider(key("1"), seconds=DAY)
    asking = Asking(provider)
    for minute in range(5):
        await asking.ask_until_told("2", NOW + minute * MINUTE)
    provider.keys = (key("2", "second"),)
    now = NOW + 4 * MINUTE + 10
    assert asking.ask("2", now) == "come back"
    assert await asking.ask_until_told("2", NOW + 5 * MINUTE, now) == "1 tried"


async def test_a_token_is_refused_when_newer_keys_lack_its_own() -> None:
    provider = Provider(key("2"), seconds=DAY)
    asking = Asking(provider)
    assert await asking.ask_until_told("1", NOW, first_sent=NOW - 31) == "unknown kid '1'"
    assert asking.ask("1", NOW + 1, first_sent=NOW - 29) == "come back"
    assert provider.asked == 1


async def test_a_withdrawn_key_is_noticed_although_no_token_comes() -> None:
    provider = Provider(key("a"), seconds=300.0)
    asking = Asking(provider)
    source = asking.source
    source.refresh_if_due(NOW)
    await source.fetched()
    provider.keys = (key("b", "b"),)
    source.refresh_if_due(NOW + 299)
    await source.fetched()
    assert (provider.asked, asking.changes) == (1, 1)
    source.refresh_if_due(NOW + 300)
    await source.fetched()
    assert (provider.asked, asking.changes) == (2, 2)
    assert not source.has(key("a").id)


async def test_a_failed_fetch_removes_no_keys() -> None:
    provider = Provider(key("1"))
    asking = Asking(provider)
    assert await asking.ask_until_told("1", NOW) == "1 tried"
    provider.is_away = True
    assert await asking.ask_until_told("1", NOW + 400) == "1 tried"
    assert asking.changes == 1


async def test_an_issuer_is_away_from_a_failed_fetch_to_one_that_succeeds() -> None:
    provider = Provider(key("1"))
    asking = Asking(provider)
    issuers = Issuers([TokenIssuer(Grantor(""), asking.source, frozenset(["ES256"]), iss="https://a.example")])
    told = []
    for is_away, now in ((False, NOW), (True, NOW + 400), (False, NOW + 800)):
        provider.is_away = is_away
        await asking.ask_until_told("1", now)
        told.append(issuers.failed_fetches())
    assert told == [{"https://a.example": is_away} for is_away in (False, True, False)]


async def test_removed_keys_are_invalid_and_the_cache_is_cleared() -> None:
    provider = Provider(key("1"), key("2", "second"))
    asking = Asking(provider)
    assert await asking.ask_until_told("1", NOW) == "1 tried"
    provider.keys = (key("2", "second"),)
    assert asking.ask("1", NOW + 300) == "1 tried"  # while it is fetched
    await asking.source.fetched()
    assert asking.ask("1", NOW + 301, first_sent=NOW) == "unknown kid '1'"
    assert asking.changes == 2
    provider.keys = (key("2", "third"),)  # another key under the same name
    assert await asking.ask_until_told("2", NOW + 700) == "1 tried"
    assert asking.changes == 3
    assert await asking.ask_until_told("2", NOW + 1100) == "1 tried"
    assert asking.changes == 3


async def test_all_keys_with_one_kid_are_tried_and_a_token_without_kid_needs_a_single_key() -> None:
    provider = Provider(key("1"), key("1", "second"))
    asking = Asking(provider)
    assert await asking.ask_until_told("1", NOW) == "2 tried"
    assert asking.ask(None, NOW, first_sent=NOW - 100) == "no kid, and not exactly one key for its algorithm"
    provider.keys = (key(None, "second"),)
    await asking.ask_until_told("1", NOW + 300)
    assert asking.ask(None, NOW + 300) == "1 tried"


def test_the_keys_for_a_token_are_chosen_by_algorithm_and_kid_at_most_sixteen() -> None:
    one, other, nameless = key("1"), key("2", "second"), key(None, "third")
    assert with_kid([one, other], "ES256", "2") == [other]
    assert with_kid([one], "ES256", None) == [one]
    assert with_kid([one, other], "ES256", None) == []
    assert with_kid([nameless], "ES256", "1") == []
    assert with_kid([one], "RS256", "1") == []
    assert for_algorithm([one, other], "RS256") == []
    assert len(with_kid([one] * 20, "ES256", "1")) == len(for_algorithm([one] * 20, "ES256")) == 16


async def test_a_source_begins_with_the_keys_of_the_one_before() -> None:
    provider = Provider(key("1"))
    asking = Asking(provider)
    assert await asking.ask_until_told("1", NOW) == "1 tried"
    provider.is_away = True
    later = Asking(provider)
    later.source.copy_keys(asking.source)
    assert later.ask("1", NOW + 100) == "1 tried"
    assert provider.asked == 1


async def test_a_holder_is_checked_again_when_the_key_of_their_token_is_withdrawn() -> None:
    provider = Provider(key("1"), key("2", "second"))
    source = Jwks("https://a.example/jwks", provider.get)
    rights = ConfiguredRights(issuers=Issuers([TokenIssuer(Grantor(""), source, frozenset(["ES256"]))]))
    judged: list[bool] = []
    guard = Guard(Mode.RIGHTS, rights)
    guard.changed = lambda: judged.append(rights.current(holder) is not None)
    now = time.time()
    source._take(Fetched(provider.keys, 300, ()), now)
    text = token({"sub": "42", "iat": now, "exp": now + 900}, "ES256", kid="1")
    holder = rights.identify(text, now)
    guard.start_fetching()
    await source.fetched()
    assert judged == []
    provider.keys = (key("2", "second"),)
    source._tried_at = None
    source.refresh(now)
    await source.fetched()
    assert judged == [False]
    with pytest.raises(RightsUnavailable):  # and not by what was remembered
        rights.identify(text, now)


async def test_a_token_that_the_old_keys_refused_is_verified_again_by_new_ones() -> None:
    provider = Provider(key(None))
    source = Jwks("https://a.example/jwks", provider.get)
    issuers = Issuers([TokenIssuer(Grantor(""), source, frozenset(["ES256"]))])
    now = time.time()
    text = token({"sub": "42", "exp": now + 900}, "ES256", name="second")
    issuers.start_fetching(lambda: None)
    await source.fetched()
    issuers._pending[hash(text)] = now - 600  # when it was first sent
    for _ in range(2):  # the second time it is remembered
        with pytest.raises(BadToken, match="wrong signature"):
            issuers.verify(text, now)
    provider.keys = (key(None, "second"),)
    source._tried_at = None
    source.refresh(now)
    await source.fetched()
    assert issuers.verify(text, now).sub == "42"


async def test_a_key_that_is_ignored_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def get(url: str) -> Fetched:
        return Fetched((key("1"),), 300, ("key 1: has 1024 bits",))

    source = Jwks("https://a.example/jwks", get)
    source.refresh(NOW)
    await source.fetched()
    assert "one of the keys at https://a.example/jwks is ignored: key 1: has 1024 bits" in caplog.text


async def test_a_bug_in_a_fetch_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def get(url: str) -> Fetched:
        raise RuntimeError("a mistake")

    source = Jwks("https://a.example/jwks", get)
    source.refresh(NOW)
    await source.fetched()
    assert "a mistake" in caplog.text
    with pytest.raises(KeysUnavailable):
        source.candidates("ES256", "1", NOW, NOW)


async def test_a_stopped_source_leaves_no_task_behind() -> None:
    async def get(url: str) -> Fetched:
        await asyncio.Event().wait()
        raise AssertionError

    source = Jwks("https://a.example/jwks", get)
    source.refresh(NOW)
    await asyncio.sleep(0)
    source.stop_fetching()
    await source.fetched()
    assert asyncio.all_tasks() == {asyncio.current_task()}
