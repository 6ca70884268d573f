"""The credentials that a revocation ends."""

from __future__ import annotations

from typing import Any

import pytest

from roomcast.auth.grants import NOTHING
from roomcast.auth.principal import Principal
from roomcast.auth.revocations import Revocations
from roomcast.auth.tickets import Grantor
from roomcast.model.revocation import Revocation

ISS, OWN, KEY = Grantor("https://a.example"), Grantor(""), Grantor("https://a.example", "0" * 32)
"""An issuer, the server's own secret, and a key that has the issuer's name."""


def holder(grantor: Grantor | None = ISS, sub: str | None = "42", issued: float | None = 1_000.0) -> Principal:
    fields: dict[str, Any] = {"kind": "token", "name": "", "user": None, "read": NOTHING, "publish": NOTHING}
    return Principal(**fields, grantor=grantor, sub=sub, issued=issued)


ENDED: list[tuple[str, Revocation, Principal, bool]] = [
    ("issued before", Revocation("42", None, 1_000_001), holder(), True),
    ("issued at that time", Revocation("42", None, 1_000_000), holder(), False),
    ("issued after", Revocation("42", None, 999_999), holder(), False),
    ("issued at an unknown time", Revocation("42", None, 1), holder(issued=None), True),
    ("another sub", Revocation("43", None, 2_000_000), holder(), False),
    ("no sub", Revocation("42", None, 2_000_000), holder(sub=None), False),
    ("an empty sub", Revocation("", None, 2_000_000), holder(sub=None), False),
    ("of this issuer", Revocation("42", ISS.name, 2_000_000), holder(), True),
    ("of another issuer", Revocation("42", "https://b.example", 2_000_000), holder(), False),
    ("of the secret", Revocation("42", "", 2_000_000), holder(OWN), True),
    ("of an issuer, for the secret's token", Revocation("42", ISS.name, 2_000_000), holder(OWN), False),
    ("of an issuer, for a key's ticket", Revocation("42", ISS.name, 2_000_000), holder(KEY), False),
    ("of every issuer, for a key's ticket", Revocation("42", None, 2_000_000), holder(KEY), True),
    ("of an issuer, for nobody's", Revocation("42", ISS.name, 2_000_000), holder(None), False),
]


@pytest.mark.parametrize(("row", "principal", "ended"), [row[1:] for row in ENDED], ids=[row[0] for row in ENDED])
def test_a_revocation_ends_older_credentials_of_its_sub_and_issuer(
    row: Revocation, principal: Principal, ended: bool
) -> None:
    assert Revocations([row]).cover(principal) is ended
    assert (
        Revocations([Revocation("7", None, 1), row, Revocation("42", "https://c", 9**9)]).cover(principal) is ended
    )


def test_subjects_are_counted_and_nothing_is_ended_by_none() -> None:
    assert len(Revocations([Revocation("42", None, 1), Revocation("42", "a", 1), Revocation("7", None, 1)])) == 2
    assert not Revocations().cover(holder())
