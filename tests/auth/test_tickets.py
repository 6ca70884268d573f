"""Tickets: what they say, and that nothing else than what was signed is taken."""

from __future__ import annotations

import base64
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomcast.auth.leeway import LEEWAY_SECONDS
from roomcast.auth.principal import Principal
from roomcast.auth.secrets import Secret, Secrets
from roomcast.auth.tickets import MAX_CONTENT, BadTicket, Grantor, TicketEnded, seal, unseal

SECRET, OTHER = Secret(b"a" * 16 + b"bcdefghijklmnopqrstuvwxyz"), Secret(b"0123456789abcdefghijklmnopqrstuvwxyz")
SECRETS = Secrets([SECRET])
GRANTOR = Grantor("shop", "0123456789abcdef0123456789abcdef")
NOW = 1_795_690_180.25
ROOMS = st.lists(st.text(min_size=1, max_size=40), max_size=8)


def sealed(**given: object) -> str:
    return seal(SECRETS, GRANTOR, **{"rooms": ["user/42"], "now": NOW, "seconds": 3600, **given})  # type: ignore[arg-type]


@given(ROOMS, ROOMS, ROOMS, st.none() | st.text(max_size=40), st.text(max_size=40))
def test_a_ticket_holds_what_was_sealed(
    rooms: list[str], prefixes: list[str], publish: list[str], sub: str | None, user: str
) -> None:
    ticket = unseal(sealed(rooms=rooms, prefixes=prefixes, publish=publish, sub=sub, user=user), SECRETS, NOW)
    assert (ticket.grantor, ticket.sub, ticket.user) == (GRANTOR, sub, user)
    assert ([*ticket.rooms], [*ticket.prefixes], [*ticket.publish]) == (rooms, prefixes, publish)
    assert (ticket.issued, ticket.opens, ticket.ends) == (1_795_690_180, 1_795_690_240, 1_795_693_781)


TEXT = sealed(rooms=["user/42", "news"], prefixes=["team/7/"])


@given(st.data())
def test_a_ticket_with_one_changed_character_is_refused(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(TEXT) - 1))
    letter = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_+/=. \n") | st.characters())
    changed = TEXT[:place] + letter + TEXT[place + 1 :]
    if changed != TEXT:
        with pytest.raises(BadTicket):
            unseal(changed, SECRETS, NOW)


@pytest.mark.parametrize("rooms", [["a" * length] for length in range(1, 4)])
def test_the_last_bits_of_the_last_character_count(rooms: list[str]) -> None:
    """If some bits are left over at the end, lenient decoders accept several texts as one."""
    text = sealed(rooms=rooms)
    for letter in string.ascii_letters + string.digits + "-_":
        if letter != text[-1]:
            with pytest.raises(BadTicket):
                unseal(text[:-1] + letter, SECRETS, NOW)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: "rct1_",
        lambda text: "rct2_" + text[5:],
        lambda text: text[5:],
        lambda text: text + "=",
        lambda text: text + "====",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text[:40] + " " + text[40:],
        lambda text: text[:-4],
        lambda text: text + "AAAA",
        lambda text: text + "A" * 10_000,
        lambda text: text[:30] + "é" + text[31:],
        lambda text: text[:30] + "\ud800" + text[31:],
    ],
)
def test_a_ticket_in_another_spelling_is_refused(change: object) -> None:
    with pytest.raises(BadTicket):
        unseal(change(TEXT), SECRETS, NOW)  # type: ignore[operator]


def test_every_refusal_has_its_reason() -> None:
    for text, secrets, now, reason in (
        (TEXT, Secrets([OTHER]), NOW, "unknown secret"),
        (TEXT, Secrets(), NOW, "no secret is configured here"),
        (TEXT[:-1], SECRETS, NOW, "malformed"),
        (TEXT[:-4] + "AAAA", SECRETS, NOW, "wrong signature"),
        (TEXT, SECRETS, NOW - LEEWAY_SECONDS - 2, "issued in the future"),
        (TEXT, SECRETS, NOW + 3600 + LEEWAY_SECONDS + 1, "expired"),
        (_signed(b"[1,2]"), SECRETS, NOW, "malformed content"),
        (_signed(b"\xff"), SECRETS, NOW, "malformed content"),
        (_signed(b'[["shop"],null,"u",[],[],[],"1",2,3,"n"]'), SECRETS, NOW, "malformed content"),
        (_signed(b'[["shop","d"],null,"u",[],[],[],1,2,3,"n",4]'), SECRETS, NOW, "malformed content"),
        (_signed(b"[" * 2000), SECRETS, NOW, "malformed content"),
    ):
        with pytest.raises(BadTicket) as raised:
            unseal(text, secrets, now)
        assert str(raised.value) == reason


def _signed(content: bytes) -> str:
    """Content signed with the secret, whatever it is."""
    import hmac

    raw = base64.urlsafe_b64decode(SECRET.id) + hmac.digest(SECRET.ticket_key, content, "sha256") + content
    return "rct1_" + base64.urlsafe_b64encode(raw).decode().rstrip("=")


def test_a_ticket_is_valid_until_its_end_and_the_leeway() -> None:
    text = sealed(now=1000.0, seconds=60)
    assert unseal(text, SECRETS, 1000 + 60 + LEEWAY_SECONDS - 1).ends == 1060
    with pytest.raises(TicketEnded):
        unseal(text, SECRETS, 1000 + 60 + LEEWAY_SECONDS)


def test_a_ticket_opens_streams_for_a_minute_and_the_leeway() -> None:
    ticket = unseal(sealed(now=1000.0), SECRETS, 1000.0)
    assert ticket.may_open(1059)
    assert ticket.may_open(1089.9)
    assert not ticket.may_open(1090)


def test_a_ticket_of_the_old_secret_is_valid_beside_the_new_one() -> None:
    assert unseal(TEXT, Secrets([OTHER, SECRET]), NOW).rooms == ("user/42", "news")


def test_too_many_rooms_are_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match="ask for fewer rooms, or use a token"):
        sealed(rooms=[f"a-room-with-a-long-name/{n}" for n in range(100)])
    assert len(sealed(rooms=[f"room/{n}" for n in range(64)])) < 2000


def test_the_largest_ticket_is_sealed_and_read() -> None:
    rooms = ["x" * 100] * 17
    left = MAX_CONTENT - (len(base64.urlsafe_b64decode(sealed(rooms=rooms)[5:] + "===")) - 6 - 32)
    largest = [*rooms, "y" * (left - len(',""'))]
    assert len(unseal(sealed(rooms=largest), SECRETS, NOW).rooms) == 18
    with pytest.raises(ValueError, match="would be too long"):
        sealed(rooms=[*rooms, largest[-1] + "y"])


def test_without_a_secret_nothing_is_sealed() -> None:
    with pytest.raises(LookupError):
        seal(Secrets(), GRANTOR, rooms=["a"], now=NOW, seconds=60)


def test_the_holder_of_a_ticket_has_its_rooms_and_prefixes_only() -> None:
    text = sealed(rooms=["user/42", "star*"], prefixes=["team/7/"], publish=["chat*"], sub="42", user="u")
    holder = Principal.of_ticket(unseal(text, SECRETS, NOW))
    assert holder.read.lacking(["user/42", "star*", "team/7/a", "user/421", "starling", "team/70"]) == [
        "user/421",
        "starling",
        "team/70",
    ]
    assert holder.read.covers_prefix("team/7/x")
    assert not holder.read.covers_prefix("team/")
    assert holder.publish.lacking(["chat*", "chat", "chatter", "user/42"]) == ["chat", "chatter", "user/42"]
    assert (holder.kind, holder.name, holder.user, holder.metrics, holder.admin) == (
        "ticket",
        "shop/42",
        "u",
        False,
        False,
    )
    assert holder.until == 1_795_693_781 + LEEWAY_SECONDS


def test_tickets_for_one_person_share_a_scope() -> None:
    def scope(grantor: Grantor = GRANTOR, sub: str | None = "42") -> str:
        return Principal.of_ticket(unseal(seal(SECRETS, grantor, sub=sub, now=NOW, seconds=9), SECRETS, NOW)).scope

    assert scope() == scope()
    scopes = [
        scope(),
        scope(sub="43"),
        scope(sub=""),
        scope(Grantor("a", "1")),
        scope(Grantor("shop")),
        scope(sub=None),
    ]
    assert len({*scopes, scope(sub=None)}) == 7
