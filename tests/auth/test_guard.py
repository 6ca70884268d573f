"""The credential that decides, if a request has several, and where each is accepted."""

from __future__ import annotations

import asyncio
import time

import pytest

from roomcast.auth.grants import Grants
from roomcast.auth.guard import Guard, Mode
from roomcast.auth.keys import Keys, new_key, sha256
from roomcast.auth.rights import ConfiguredRights
from roomcast.auth.secrets import Secret, Secrets
from roomcast.auth.tickets import OPENS_SECONDS, Grantor, seal
from roomcast.auth.tokens.fetch import Fetched
from roomcast.auth.tokens.issuer import TokenIssuer
from roomcast.auth.tokens.issuers import Issuers
from roomcast.auth.tokens.jwks import Jwks
from roomcast.model.errors import BadCredential, Invalid, InvalidToken
from roomcast.model.revocation import Revocation
from roomcast.model.rooms import Selection
from roomcast.model.settings.key import Key
from roomcast.model.settings.limits import Quota
from tests.running import PATIENCE

KEY, OTHER = new_key("shop"), new_key("other")
SECRETS = Secrets([Secret(b"0123456789abcdefghijklmnopqrstuvwxyz")])


def rights(*keys: str, **more: object) -> ConfiguredRights:
    rows = [Key(name=key.split("_")[1], sha256=sha256(key), read=("*",), publish=("*",)) for key in keys]
    return ConfiguredRights(keys=Keys(rows), secrets=SECRETS, **more)  # type: ignore[arg-type]


def ticket(ago: float = 0, **given: object) -> bytes:
    """A ticket for an hour that was issued so many seconds ago."""
    by = Grantor("shop", sha256(KEY)[:32])
    text = seal(SECRETS, by, **{"rooms": ["a"], "now": time.time() - ago, "seconds": 3600, **given})  # type: ignore[arg-type]
    return text.encode()


@pytest.fixture
def guard() -> Guard:
    return Guard(Mode.RIGHTS, rights(KEY, OTHER, cookie="tok"))


BEARER, NAMED = f"Bearer {KEY}".encode(), b"Bearer rck_gone_" + b"x" * 43


def test_the_header_decides_before_the_ticket_and_the_ticket_before_the_cookie(guard: Guard) -> None:
    other = OTHER.encode()
    assert guard.identify(BEARER, ticket(), other).kind == "key"
    assert guard.identify(None, ticket(), other).kind == "ticket"
    assert guard.identify(None, None, other).name == "other"
    assert guard.identify(None) is guard.anonymous


@pytest.mark.parametrize("sent", [(NAMED, ticket(), OTHER.encode()), (None, b"rct1_x", OTHER.encode())])
def test_a_bad_credential_is_refused_although_a_good_one_is_sent_with_it(
    guard: Guard, sent: tuple[bytes | None, bytes, bytes]
) -> None:
    with pytest.raises(InvalidToken):
        guard.identify(*sent)


@pytest.mark.parametrize("place", ["cookie=", "?ticket=", "ticket="])
def test_a_credential_cached_from_another_place_is_not_a_header(guard: Guard, place: str) -> None:
    sent = ticket()
    guard.identify(None, sent)
    guard.identify(None, None, sent)
    with pytest.raises(BadCredential):
        guard.identify(place.encode() + sent)


def test_the_ticket_parameter_takes_only_tickets(guard: Guard) -> None:
    with pytest.raises(InvalidToken, match="not valid") as raised:
        guard.identify(None, KEY.encode())
    assert raised.value.reason == "the URL's ticket parameter holds no ticket"


def test_a_ticket_in_a_url_opens_streams_for_a_minute_and_resumes_them_afterwards(guard: Guard) -> None:
    early, late = ticket(OPENS_SECONDS + 25), ticket(OPENS_SECONDS + 35)
    assert guard.identify(None, early).kind == "ticket"
    for _ in range(2):  # the second time it is cached
        with pytest.raises(InvalidToken, match="ticket-expired"):
            guard.identify(None, late)
        assert guard.identify(None, late, resumes=True).kind == "ticket"
    assert guard.identify(b"Bearer " + late).kind == "ticket"


def test_without_configured_rights_credentials_are_not_checked() -> None:
    for guard in (Guard(Mode.LOCAL, rights(KEY)), Guard(Mode.OPEN, ConfiguredRights())):
        assert not guard.checks_credentials
        assert guard.identify(b"Bearer nonsense", b"nonsense", b"nonsense") is guard.anonymous
        assert guard.anonymous.read.covers_prefix("")
    assert Guard(Mode.OPEN, rights(KEY)).checks_credentials


def test_on_an_open_server_a_stranger_may_do_everything_but_administer() -> None:
    stranger = Guard(Mode.OPEN, rights(KEY, quota=Quota(streams=7))).anonymous
    assert (stranger.metrics, stranger.admin, stranger.user, stranger.quota.streams) == (True, False, None, 7)
    assert "a" in stranger.publish


@pytest.mark.parametrize("name", ["token", "access_token", "auth", "authorization", "jwt", "key", "api_key",
                                  "apikey", "Ticket", "tickets", "secret", "password", "x\ntoken"])  # fmt: skip
def test_a_credential_in_the_query_is_refused_and_not_repeated(guard: Guard, name: str) -> None:
    with pytest.raises(Invalid, match="no place for a credential"):
        guard.check_url(["room", name])
    for other in (Guard(Mode.OPEN, rights(KEY)), Guard(Mode.LOCAL, ConfiguredRights())):
        other.check_url([name])


def test_a_long_name_in_the_query_may_itself_be_a_credential(guard: Guard) -> None:
    with pytest.raises(Invalid) as raised:
        guard.check_url([f"token{KEY}"])
    assert KEY not in str(raised.value.detail) + str(raised.value.faults)
    guard.check_url(["room", "keys", "author", "prefix", "monkey"])


def test_a_stream_goes_on_only_while_all_its_rooms_may_be_read() -> None:
    guard = Guard(Mode.RIGHTS, rights(KEY, read=Grants.parse(["news", "public/*"])))
    stranger, shop = guard.anonymous, guard.identify(BEARER)
    sent = b"Bearer " + ticket(rooms=["a", "b"], prefixes=["c/"], sub="42")
    held = guard.identify(sent)
    all_three = Selection.of(["a"], ["c/"])

    def allowed() -> list[bool]:
        return [
            guard.may_still_follow(stranger, Selection.of(["news"], ["public/"])),
            guard.may_still_follow(stranger, Selection.of(["news", "a"], [])),
            guard.may_still_follow(stranger, Selection.of(["news"], ["p"])),
            guard.may_still_follow(shop, all_three),
            guard.may_still_follow(held, all_three),
        ]

    assert allowed() == [True, False, False, True, True]
    assert not guard.may_still_follow(None, all_three)
    guard.revoke([Revocation("42", None, int(time.time() * 1000) + 1000)])
    assert allowed() == [True, False, False, True, False]
    guard.enforce(rights(KEY))  # read again, without grants for strangers
    assert allowed() == [False, False, False, True, False]
    with pytest.raises(InvalidToken):  # the revocations of the log stay in force
        guard.identify(sent)
    guard.enforce(rights(OTHER))
    assert allowed() == [False] * 5


def test_a_change_of_rights_is_reported(guard: Guard) -> None:
    changes: list[None] = []
    guard.changed = lambda: changes.append(None)
    guard.revoke([])
    guard.enforce(rights(KEY))
    assert len(changes) == 2


async def test_new_rights_end_the_fetches_of_those_before() -> None:
    async def hang(url: str) -> Fetched:
        await asyncio.Event().wait()
        raise AssertionError

    def issuers(url: str) -> Issuers:
        return Issuers([TokenIssuer(Grantor(url), Jwks(url, hang), frozenset(["ES256"]), audience="x")])

    guard = Guard(Mode.RIGHTS, rights(issuers=issuers("https://a.example/jwks")))
    guard.start_fetching()
    (earlier,) = asyncio.all_tasks() - {asyncio.current_task()}
    guard.replace(rights(issuers=issuers("https://b.example/jwks")))
    await asyncio.wait([earlier], timeout=PATIENCE)
    assert earlier.cancelled()
    guard.stop_fetching()
    await guard.rights.fetched()


async def test_new_rights_take_the_place_of_those_before(guard: Guard) -> None:
    guard.start_fetching()
    guard.replace(rights(OTHER))
    with pytest.raises(InvalidToken):
        guard.identify(BEARER)
    guard.stop_fetching()
