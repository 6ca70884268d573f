"""The secrets that are accepted, and the errors for others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roomcast.auth.secrets import Secrets, derived, secret
from roomcast.model.errors import CannotStart

GOOD = b"3q2+7wQkYt1mXr8vZs5uLp0aHcJdNfBe9gKi"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_one_line_end_is_not_part_of_a_secret(end: bytes) -> None:
    assert secret(GOOD + end, "it").text == GOOD


@pytest.mark.parametrize("end", [b"\n\n", b" ", b"\r", b"\r\n\r\n", b"\t\n"])
def test_all_other_bytes_of_the_file_belong_to_the_secret(end: bytes) -> None:
    assert secret(GOOD + end, "it").text in (GOOD + end.removesuffix(b"\n").removesuffix(b"\r"), GOOD + end)
    assert secret(GOOD + end, "it").text != GOOD


def test_a_secret_is_not_decoded() -> None:
    coded = b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    assert secret(coded, "it").text == coded


def test_a_secret_may_be_any_bytes(tmp_path: Path) -> None:
    data = bytes(range(224, 256))
    (tmp_path / "s").write_bytes(data)
    assert Secrets.read([str(tmp_path / "s")]).signing.text == data


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "has 0 bytes, and at least 32 are needed"),
        (GOOD[:31], "has 31 bytes"),
        (GOOD[:31] + b"\n", "has 31 bytes"),
        (GOOD[:31] + b"\r\n", "has 31 bytes"),
        (b"!ChangeMe!", "is an example secret"),
        (b"!ChangeThisMercureHubJWTSecretKey!\n", "is an example secret"),
        (b"!ChangeMe!" * 4, "is an example secret"),
        (b"secret", "is an example secret"),
        (b"SECRET" * 8, "is an example secret"),
        (b"secret" + b"=" * 40, "is an example secret"),
        (b"0" * 40 + b"secret", "is an example secret"),
        (b"s" * 40 + b"secret", "is an example secret"),
        (b"secret" + b"t" * 40, "is an example secret"),
        (b"!!!!!!ChangeThisMercureHubJWTSecretKey!", "is an example secret"),
        (b"dddddddjango-insecure-2n8q0v!x5s_9k3h7j1l6p4r@t0y", "is an example secret"),
        (b"secret" + b"\0" * 40, "is an example secret"),
        (b"  !ChangeThisMercureHubJWTSecretKey!  ", "is an example secret"),
        (b"!ChangeThisMercureHubJWTSecretKey!!!!!!", "is an example secret"),
        (b"your-256-bit-secret" * 2, "is an example secret"),
        (b"django-insecure-2n8q0v!x5s_9k3h7j1l6p4r@t0y", "is an example secret"),
        (b"0" * 64, "is a short text repeated"),
        (bytes(64), "is a short text repeated"),
        (b"hunter2" * 6, "is a short text repeated"),
        (b"-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n", "is a key in PEM"),
        (b"\n-----BEGIN RSA PRIVATE KEY-----\nMIIB\n", "is a key in PEM"),
        (b'{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78"}', "is a JWK"),
    ],
)
def test_a_known_or_guessable_secret_is_refused(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "s").write_bytes(data)
    with pytest.raises(CannotStart) as raised:
        Secrets.read([str(tmp_path / "s")])
    assert raised.value.detail.startswith(f"the secret in {tmp_path / 's'} ")
    assert words in raised.value.detail
    assert "openssl rand" in raised.value.detail
    assert len(data) < 10 or data.decode().strip() not in raised.value.detail


def test_a_path_that_is_not_a_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(os.urandom(70_000))
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(CannotStart, match="is not a regular file"):
            Secrets.read([str(path)])
    for name, words in ((tmp_path / "none", "No such file"), (Path("a\0b"), "null ")):
        with pytest.raises(CannotStart, match=f"cannot be read .*{words}"):
            Secrets.read([str(name)])
    with pytest.raises(CannotStart, match="more than 64 KiB"):
        Secrets.read([str(tmp_path / "large")])


def test_the_first_secret_signs_and_each_is_found_by_its_id(tmp_path: Path) -> None:
    for name in ("new", "old"):
        (tmp_path / name).write_bytes(name.encode() + GOOD)
    both = Secrets.read([str(tmp_path / "new"), str(tmp_path / "old")])
    new, old = both
    assert both.signing is new
    assert both.get(new.id) is new
    assert both.get(old.id) is old
    assert both.get("00000000") is None
    assert new.id != old.id


def test_without_secrets_none_signs() -> None:
    assert not Secrets()
    with pytest.raises(LookupError):
        _ = Secrets().signing


def test_the_repr_of_a_secret_does_not_show_it() -> None:
    given = Secrets.of_text(GOOD.decode(), "ROOMCAST_SECRET")
    assert GOOD.decode() not in repr(given) + repr(given.signing) + str(given.signing) + given.signing.id


def test_the_derivation_is_hkdf() -> None:
    """RFC 5869, test case 3: neither salt nor label; the first block."""
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert derived(b"\x0b" * 22, b"").hex() == expected
