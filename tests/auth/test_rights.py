"""The principal of a credential."""

from __future__ import annotations

import pytest

from roomcast.auth.grants import Grants
from roomcast.auth.keys import Keys, new_key, sha256
from roomcast.auth.principal_cache import MAX_CACHED, fingerprint
from roomcast.auth.rights import ConfiguredRights
from roomcast.auth.secrets import Secret, Secrets
from roomcast.auth.tickets import Grantor, seal
from roomcast.model.errors import InvalidToken
from roomcast.model.revocation import Revocation
from roomcast.model.settings.key import Key

NOW = 1_795_690_180.0
KEY = new_key("shop")
GRANTOR = Grantor("shop", sha256(KEY)[:32])
SECRETS = Secrets([Secret(b"0123456789abcdefghijklmnopqrstuvwxyz")])


def rights(*keys: str, secrets: Secrets = SECRETS) -> ConfiguredRights:
    rows = [Key(name="shop", sha256=sha256(key), read=("*",)) for key in keys or (KEY,)]
    return ConfiguredRights(keys=Keys(rows), secrets=secrets)


def ticket(**given: object) -> str:
    return seal(SECRETS, GRANTOR, **{"rooms": ["a"], "now": NOW, "seconds": 60, **given})  # type: ignore[arg-type]


def refused(rights: ConfiguredRights, credential: str, now: float = NOW) -> tuple[str, str]:
    with pytest.raises(InvalidToken) as raised:
        rights.identify(credential, now)
    return raised.value.detail, raised.value.reason


def test_all_requests_of_one_credential_share_a_principal() -> None:
    one = rights()
    assert one.identify(KEY, NOW) is one.identify(KEY, NOW + 10**9)
    text = ticket()
    assert one.identify(text, NOW) is one.identify(text, NOW + 80)
    assert one.identify(text, NOW).name == "shop"


def test_a_bad_credential_is_never_anonymous_and_its_holder_is_told_no_reason() -> None:
    open_to_all = ConfiguredRights(keys=Keys(), secrets=SECRETS, read=Grants.parse(["*"]))
    assert refused(open_to_all, new_key("shop")) == ("not valid", "unknown key")
    assert refused(rights(), ticket()[:-1])[0] == "not valid"
    assert refused(rights(), ticket(), NOW + 91) == ("ticket-expired", "the ticket has expired")
    assert refused(rights(), "eyJhbGciOiJub25lIn0.e30.") == ("not valid", "tokens are not accepted")
    assert refused(rights(), "eyJh.e30.c2ln") == ("not valid", "tokens are not accepted")
    assert refused(rights(), "hunter2") == ("not valid", "neither a key nor a ticket nor a token")
    assert refused(rights(), "") == ("not valid", "neither a key nor a ticket nor a token")
    assert refused(rights(), "\ud800")[0] == "not valid"


def test_a_cached_ticket_expires_like_any_other() -> None:
    one, text = rights(), ticket()
    one.identify(text, NOW)
    assert one.identify(text, NOW + 89.9)
    assert refused(one, text, NOW + 90) == ("ticket-expired", "the ticket has expired")
    assert refused(one, text, NOW + 91) == ("ticket-expired", "the ticket has expired")


def test_a_ticket_is_valid_only_while_its_key_is_configured() -> None:
    text, other = ticket(), new_key("shop")
    assert rights(other, KEY).identify(text, NOW)
    assert refused(rights(other), text) == (
        "not valid",
        "the ticket is of the key 'shop', which is no longer configured",
    )
    assert refused(rights(secrets=Secrets()), text) == ("not valid", "bad ticket: no secret is configured here")


def test_ten_thousand_principals_are_cached_and_the_least_recently_used_goes_first() -> None:
    one = rights()
    kept, *rest = [ticket() for _ in range(MAX_CACHED + 1)]
    first = one.identify(kept, NOW)
    for text in rest[:-1]:
        one.identify(text, NOW)
    gone = one.identify(rest[0], NOW)
    assert one.identify(kept, NOW) is first
    one.identify(rest[-1], NOW)
    assert len(one._cache) == MAX_CACHED
    assert one.identify(kept, NOW) is first
    assert one.identify(rest[0], NOW) is gone
    assert one._cache.get(fingerprint(rest[1].encode()), NOW) is None


def test_bad_credentials_are_not_cached() -> None:
    one = rights()
    for number in range(100):
        refused(one, f"rct1_{number}")
    assert not one._cache


def test_rights_that_are_read_again_have_an_empty_cache() -> None:
    before, text = rights(), ticket()
    before.identify(text, NOW)
    after = rights()
    assert after.identify(text, NOW) is not before.identify(text, NOW)


def test_a_client_without_a_credential_is_anonymous_with_the_configured_grants() -> None:
    stranger = ConfiguredRights(read=Grants.parse(["public/*"])).anonymous
    assert (stranger.kind, stranger.user) == ("anonymous", "anonymous")
    assert "public/a" in stranger.read
    assert "a" not in stranger.read
    assert not stranger.publish
    assert not stranger.metrics


def test_rights_count_as_configured_once_anything_is_configured() -> None:
    assert not ConfiguredRights().configured
    assert rights().configured
    assert ConfiguredRights(secrets=SECRETS).configured
    assert ConfiguredRights(publish=Grants.parse(["a"])).configured
    assert ConfiguredRights(cookie="tok").configured


def test_a_key_is_any_text_with_the_configured_hash() -> None:
    assert rights("hunter2").identify("hunter2", NOW).name == "shop"


def test_a_principal_of_earlier_rights_is_found_again_by_its_key_secret_and_issuer() -> None:
    key, held = rights().identify(KEY, NOW), rights().identify(ticket(), NOW)
    now = rights()
    current = now.current(key)
    assert current is not None
    assert current is not key
    assert now.current(held) is held
    other = Secrets([Secret(b"another-0123456789abcdefghijklmnopqrstuvwxyz")])
    for later in (rights(new_key("shop")), rights(secrets=other)):
        assert later.current(held) is None
    assert rights(new_key("shop")).current(key) is None
    assert now.current(ConfiguredRights().anonymous) is None


def test_a_revoked_credential_is_refused_also_from_the_cache() -> None:
    one, text = rights(), ticket(sub="42")
    held = one.identify(text, NOW)
    one.revoke([Revocation("42", None, int(NOW * 1000) + 1)])
    assert refused(one, text) == ("not valid", "revoked")
    assert one.current(held) is None
    for revocations in ([], [Revocation("42", None, int(NOW * 1000) - 1)]):  # before the ticket was issued
        one.revoke(revocations)
        assert one.identify(text, NOW).sub == "42"


def test_revocations_of_the_file_stay_beside_those_of_the_log() -> None:
    in_file = ConfiguredRights(keys=Keys([Key(name="shop", sha256=sha256(KEY), read=("*",))]), secrets=SECRETS,
                     revoked=[Revocation("42", None, int(NOW * 1000) + 1)])  # fmt: skip
    for logged in ([], [Revocation("43", None, int(NOW * 1000) + 1)]):
        in_file.revoke(logged)
        assert refused(in_file, ticket(sub="42"))[1] == "revoked"
    assert refused(in_file, ticket(sub="43"))[1] == "revoked"
