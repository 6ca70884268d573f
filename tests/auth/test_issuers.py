"""Issuers in the configuration: mistakes that end the start, their keys, and their templates."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from roomcast.auth import verifier
from roomcast.auth.from_settings import rights_from
from roomcast.auth.rights import ConfiguredRights
from roomcast.auth.secrets import Secret, Secrets
from roomcast.auth.tickets import Grantor, seal
from roomcast.auth.tokens import issuer, issuers
from roomcast.auth.tokens.bad import BadToken
from roomcast.auth.tokens.grants import from_templates
from roomcast.auth.tokens.issuer import of_secrets
from roomcast.auth.tokens.issuers import Issuers
from roomcast.model.errors import BadOption, CannotStart, InvalidToken
from roomcast.model.settings import Settings
from roomcast.model.settings.template import template
from tests.auth.signing import pem, private_pem, token
from tests.auth.test_token_attacks import NOW, OWN, SECRET, SECRETS

A, B = "https://a.example", "https://b.example"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(SECRET + b"\r\n")
    (tmp_path / "short").write_bytes(SECRET[:31])
    (tmp_path / "example").write_bytes(b"!ChangeMe!")
    (tmp_path / "es").write_bytes(pem("ES256"))
    (tmp_path / "es2").write_bytes(pem("ES256", "second"))
    (tmp_path / "rsa").write_bytes(pem("RSA"))
    (tmp_path / "rsa1024").write_bytes(pem("RSA1024"))
    (tmp_path / "private").write_bytes(private_pem("ES256"))
    (tmp_path / "p521").write_bytes(pem("ES512"))
    (tmp_path / "two").write_bytes(pem("ES256") + pem("RSA"))
    (tmp_path / "certificate").write_bytes(b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    (tmp_path / "none").write_bytes(b"no key")
    (tmp_path / "ed448").write_bytes(pem("Ed448"))
    (tmp_path / "unknown").write_bytes(b"-----BEGIN PUBLIC KEY-----\nMAowBQYDKgMEAwEA\n-----END PUBLIC KEY-----\n")
    return tmp_path


def configured(folder: Path, *rows: dict[str, Any], **more: Any) -> ConfiguredRights:
    """The rights of a configuration; files are named by their names in the folder."""
    for row in (*rows, more):
        for name in ("public_keys", "secret_files"):
            if name in row:
                row[name] = [str(folder / file) for file in row[name]]
    return rights_from(Settings.of({"issuers": rows, **more}))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "21 a short secret": ({"secret_files": ["short"]}, "has 31 bytes, and at least 32 are needed"),
    "21 an example's secret": ({"secret_files": ["example"]}, "is an example secret that everybody knows"),
    "21 a key as a secret": ({"secret_files": ["es"]}, "is a key in PEM, which is for other algorithms"),
    "21 RSA of 1,024 bits": ({"public_keys": ["rsa1024"]}, "has 1024 bits, and at least 2048 are needed"),
    "21 a file that is not there": ({"public_keys": ["gone"]}, "cannot be read (No such file or directory)"),
    "21 a folder": ({"public_keys": ["."]}, "is not a regular file"),
    "a private key": ({"public_keys": ["private"]}, "is a private key, which only its issuer may have"),
    "a certificate": ({"public_keys": ["certificate"]}, "is a certificate: `openssl x509 -pubkey -noout`"),
    "a key on another curve": ({"public_keys": ["p521"]}, "is on the curve P-521"),
    "two keys in a file": ({"public_keys": ["two"]}, "has several keys: give each a file"),
    "no key": ({"public_keys": ["none"]}, "is not a public key in PEM"),
    "a key of another kind": ({"public_keys": ["ed448"]}, "is not a key for RS256, PS256, ES256"),
    "a key of an unknown kind": ({"public_keys": ["unknown"]}, "is not a public key in PEM"),
    "a key for none of its algorithms": (
        {"public_keys": ["rsa"], "algorithms": ["ES256"]},
        "is for PS256, RS256: name one of these in algorithms",
    ),
    "no source of keys": ({"iss": A}, "has no keys: give it one of jwks, public_keys, secret_files"),
    "two sources": (
        {"public_keys": ["es"], "secret_files": ["secret"]},
        "has public_keys and secret_files: give it",
    ),
    "HS256 for a public key": ({"public_keys": ["es"], "algorithms": ["HS256"]}, "its public_keys are for RS256"),
    "RS256 for a secret": (
        {"secret_files": ["secret"], "algorithms": ["RS256"]},
        "its secret_files are for HS256",
    ),
    "none": ({"public_keys": ["es"], "algorithms": ["none"]}, "must be one of HS256, RS256"),
    "an address without TLS": ({"jwks": "http://a.example/jwks"}, "must begin with https://"),
    "no address": ({"jwks": "a.example/jwks"}, "must be a URL such as https://"),
    "an address with a password": ({"jwks": "https://u:p@a.example/"}, "must be a URL such as"),
    "a port that no server has": ({"jwks": "https://a.example:0/jwks"}, "must be a URL such as"),
    "a file's address": ({"jwks": "file:///etc/passwd"}, "must be a URL such as"),
    "no right": ({"public_keys": ["es"], "claims": False}, "may do nothing: give it read or publish"),
    "a brace too many": ({"public_keys": ["es"], "read": ["user/{sub"]}, "must have claims as {name}"),
    "a claim without a name": ({"public_keys": ["es"], "read": ["user/{}"]}, "must have claims as {name}"),
    "a room that there cannot be": ({"public_keys": ["es"], "read": ["$x/{sub}"]}, "must be a room"),
    "a name that is near": ({"public_keys": ["es"], "raed": ["a"]}, "did you mean read?"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_row_ends_the_start_with_a_sentence(folder: Path, name: str) -> None:
    row, sentence = WRONG[name]
    with pytest.raises(CannotStart) as raised:
        configured(folder, dict(row))
    assert sentence in raised.value.detail
    assert raised.value.detail.count("\n") == 0


def test_several_issuers_need_what_tells_their_tokens_apart(folder: Path) -> None:
    one = {"iss": A, "audience": "x", "public_keys": ["es"]}
    for other in ({"audience": "x"}, {"iss": B}, {"iss": A, "audience": "y"}):
        with pytest.raises(BadOption, match=r"needs (iss|audience)|is the iss of another"):
            configured(folder, dict(one), {**other, "public_keys": ["es2"]})
    assert configured(folder, dict(one), {"iss": B, "audience": "x", "public_keys": ["es2"]})
    with pytest.raises(BadOption, match="needs iss beside a secret"):
        configured(folder, {"public_keys": ["es"]}, secret_files=["secret"])


def test_a_secret_is_text_or_a_file(folder: Path) -> None:
    with pytest.raises(BadOption, match="a secret is given twice"):
        configured(folder, secret=SECRET.decode(), secret_files=["secret"])


async def test_rights_without_issuers_have_no_fetch_to_wait_for(folder: Path) -> None:
    await configured(folder).fetched()


def test_an_issuer_alone_configures_rights(folder: Path) -> None:
    assert configured(folder, {"public_keys": ["es"]}).configured


def test_21_a_line_end_is_not_part_of_a_secret(folder: Path) -> None:
    one = configured(folder, {"secret_files": ["secret"]})
    assert one.identify(token(OWN, key=SECRET), NOW).sub == "42"
    assert one.identify(token({**OWN, "iss": "any"}, key=SECRET), NOW)
    with pytest.raises(InvalidToken):
        one.identify(token(OWN, key=SECRET + b"\r\n"), NOW)


def test_each_key_in_a_file_is_tried(folder: Path) -> None:
    one = configured(folder, {"public_keys": ["rsa", "es", "es2"]})
    for algorithm, name in (("RS256", ""), ("PS256", ""), ("ES256", ""), ("ES256", "second")):
        assert one.identify(token(OWN, algorithm, name=name, kid="whatever"), NOW)
    with pytest.raises(InvalidToken):
        one.identify(token(OWN, "EdDSA"), NOW)
    narrow = configured(folder, {"public_keys": ["rsa"], "algorithms": ["PS256"]})
    with pytest.raises(InvalidToken):
        narrow.identify(token(OWN, "RS256"), NOW)


def test_beside_an_issuer_the_secret_is_for_tokens_without_iss(folder: Path) -> None:
    row = {"iss": A, "audience": "x", "secret_files": ["secret"]}
    other = SECRET[::-1]
    (folder / "other").write_bytes(other)
    both = configured(folder, row, secret_files=["other"])
    assert both.identify(token(OWN, key=other), NOW).name == "42"
    assert both.identify(token({**OWN, "iss": A, "aud": "x"}, key=SECRET), NOW).name == f"{A}/42"
    for claims, key in (({**OWN, "iss": A, "aud": "x"}, other), (OWN, SECRET), ({**OWN, "iss": B}, other)):
        with pytest.raises(InvalidToken):
            both.identify(token(claims, key=key), NOW)


def test_a_ticket_is_valid_only_while_its_issuer_is_configured(folder: Path) -> None:
    row = {"iss": A, "public_keys": ["es"]}
    text = seal(SECRETS, Grantor(A), rooms=["a"], sub="42", now=NOW, seconds=60)
    assert configured(folder, dict(row), secret_files=["secret"]).identify(text, NOW).sub == "42"
    with pytest.raises(InvalidToken) as raised:
        configured(folder, {**row, "iss": B}, secret_files=["secret"]).identify(text, NOW)
    assert raised.value.reason == f"the ticket is of the issuer {A!r}, which is no longer configured"


def test_without_joserfc_tickets_work_and_an_issuer_ends_the_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verifier, "tokens_installed", lambda: False)
    with pytest.raises(
        CannotStart, match=r"needs joserfc, which is not installed: `pip install 'roomcast\[jwt\]'`"
    ):
        configured(folder, {"public_keys": ["es"]})
    one = configured(folder, secret_files=["secret"])
    with pytest.raises(InvalidToken) as raised:
        one.identify(token(OWN, key=SECRET), NOW)
    assert (raised.value.detail, raised.value.reason) == ("not valid", "roomcast[jwt] is not installed")


def test_the_claim_for_roomcast_may_have_another_name_or_none(folder: Path) -> None:
    row = {"public_keys": ["es"], "claim": "https://example.com/roomcast"}
    said = {"https://example.com/roomcast": {"read": ["b"]}}
    claims = {**OWN, **said}
    assert configured(folder, dict(row)).identify(token(claims, "ES256"), NOW).read.texts() == ["b"]
    templates = {"public_keys": ["es"], "read": ["user/{sub}"]}
    unread = configured(folder, templates).identify(token({**OWN, "roomcast": 7}, "ES256"), NOW)
    assert unread.read.texts() == ["user/42"]


def test_the_user_is_that_of_a_claim_and_a_token_without_it_is_refused(folder: Path) -> None:
    one = configured(folder, {"public_keys": ["es"], "user": "name"})
    assert one.identify(token({**OWN, "name": "anna"}, "ES256"), NOW).user == "anna"
    for claims in (OWN, {**OWN, "name": 7}, {**OWN, "name": ""}, {**OWN, "name": "a\nb"}):
        with pytest.raises(InvalidToken):
            one.identify(token(claims, "ES256"), NOW)


def test_a_holder_of_earlier_rights_stays_while_their_issuer_grants_the_same_by_the_same_key(folder: Path) -> None:
    row = {"iss": A, "public_keys": ["es"], "read": ["user/{sub}"], "publish": ["a"]}
    holder = configured(folder, dict(row)).identify(token({**OWN, "iss": A}, "ES256"), NOW)
    assert configured(folder, dict(row)).current(holder) is holder
    others: list[dict[str, Any]] = [{"read": []}, {"read": ["news"]}, {"public_keys": ["es2"]}, {"iss": B}]
    for change in (*others, {"claims": True}, {"audience": "x"}, {"user": "name"}):
        assert configured(folder, {**row, **change}).current(holder) is None, change


# Templates

CLAIMS = {
    "sub": "42",
    "team": "7",
    "teams": ["7", "8"],
    "mixed": ["7", 8, "", "a/b", "*", "{sub}", "9"],
    "none": [],
    "number": 42,
    "long": "x" * 129,
    "almost": "x" * 128,
    "unseen": "4\u200b2",
    "control": "4\u00072",
    "half": "\ud800",
    "https://example.com/team": "url",
    "app": {"teams": ["in"], "deep": {"er": "er"}, "object": {}},
}
FILLED: list[tuple[str, list[str]]] = [
    ("news", ["news"]),
    ("user/{sub}", ["user/42"]),
    ("user/{sub}/*", ["user/42/*"]),
    ("team/{teams}/*", ["team/7/*", "team/8/*"]),
    ("team/{teams}/{sub}", ["team/7/42", "team/8/42"]),
    ("{teams}{teams}", ["77", "78", "87", "88"]),
    ("team/{mixed}", ["team/7", "team/9"]),
    ("team/{none}", []),
    ("team/{gone}", []),
    ("team/{gone}/{teams}", []),
    ("user/{number}", []),
    ("user/{long}", []),
    ("{almost}", ["x" * 128]),
    ("user/{almost}", []),
    ("user/{unseen}", []),
    ("user/{control}", []),
    ("user/{half}", []),
    ("{https://example.com/team}", ["url"]),
    ("{app.teams}", ["in"]),
    ("{app.deep.er}", ["er"]),
    ("{app.gone.er}", []),
    ("{app}", []),
    ("{app.object}", []),
    ("{sub.x}", []),
]


@pytest.mark.parametrize(("text", "grants"), FILLED)
def test_22_a_template_gives_a_grant_for_each_good_value(
    text: str, grants: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "roomcast.audit")
    assert from_templates([template(text)], CLAIMS, "42") == grants
    if not grants:
        assert "grants nothing: it" in caplog.text
        assert len(caplog.records) <= 2


def test_lists_that_make_too_many_grants_refuse_the_token(folder: Path) -> None:
    one = configured(folder, {"public_keys": ["es"], "read": ["{a}/{b}"]})
    many = [f"{number}" for number in range(200)]
    with pytest.raises(InvalidToken) as raised:
        one.identify(token({**OWN, "a": many, "b": many}, "ES256"), NOW)
    assert raised.value.reason.startswith("bad token: it has more than 1000 grants: grant prefixes such as team/*")


def test_templates_share_the_bound_of_grants() -> None:
    claims = {"a": [f"{number}" for number in range(600)]}
    assert len(from_templates([template("x/{a}")], claims, "42")) == 600
    with pytest.raises(BadToken, match="more than 1000 grants"):
        from_templates([template("x/{a}"), template("y/{a}")], claims, "42")


def test_a_grant_after_more_than_1000_combinations_is_not_silently_left_out() -> None:
    claims = {"a": ["x" * 128, *map(str, range(30))], "b": [*map(str, range(40))]}
    assert len(from_templates([template("{a}/{b}")], {**claims, "b": ["1"]}, "42")) == 30
    with pytest.raises(BadToken, match="more than 1000 grants"):
        from_templates([template("{a}/{b}")], claims, "42")


# What bad tokens cost


def test_a_bad_token_that_is_sent_again_is_not_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []

    def verifies(key: object, *signed: object) -> bool:
        verified.append(key)
        return False

    monkeypatch.setattr(issuer, "verifies", verifies)
    one = ConfiguredRights(issuers=Issuers([], of_secrets(SECRETS)))
    for _ in range(100):
        with pytest.raises(InvalidToken, match="not valid"):
            one.identify(token(OWN, key=SECRET), NOW)
    assert len(verified) == 1


def test_a_flood_of_bad_tokens_is_remembered_in_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuers, "_REMEMBERED", 50)
    one = Issuers([], of_secrets(Secrets([Secret(b"y" * 16 + SECRET)])))
    for number in range(100):
        with pytest.raises(Exception, match="wrong signature"):
            one.verify(token({**OWN, "jti": number}, key=SECRET), NOW)
    assert len(one._wrong) == 50


async def test_a_jwks_without_audience_is_warned_of(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    for row, warned in (({"iss": A}, True), ({"iss": A, "audience": "x"}, False)):
        caplog.clear()
        one = configured(folder, {**row, "jwks": "http://127.0.0.1:1/jwks"})
        one.start_fetching()
        one.stop_fetching()
        await one.fetched()
        assert (f"[[issuer]] {A} has no audience" in caplog.text) is warned
