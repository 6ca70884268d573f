"""Keys: how they are made, and their principals."""

from __future__ import annotations

import hashlib
import re

import pytest

from roomcast.auth.keys import Keys, new_key, sha256
from roomcast.auth.tickets import Grantor
from roomcast.model.settings.key import Key


def row(key: str, name: str = "shop", **more: object) -> Key:
    return Key(name=name, sha256=sha256(key), **{"read": ("*",), **more})  # type: ignore[arg-type]


def test_a_key_has_a_prefix_for_scanners_its_name_and_256_random_bits() -> None:
    key = new_key("my-shop-2")
    assert re.fullmatch(r"rck_my-shop-2_[A-Za-z0-9_-]{43}", key)
    assert new_key("my-shop-2") != key
    assert sha256(key) == hashlib.sha256(key.encode()).hexdigest()


@pytest.mark.parametrize("name", ["", "Shop", "a" * 33, "a_b", "a b", "é", "shop\n"])
def test_an_invalid_key_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be 1 to 32 of a-z, 0-9 and -"):
        new_key(name)


def test_a_key_is_found_by_the_hash_of_all_of_it() -> None:
    key = new_key("shop")
    holder = Keys([row(key, publish=("chat/*",), metrics=True, user="bot")]).with_hash(sha256(key))
    assert holder
    assert (holder.kind, holder.name, holder.scope, holder.user) == ("key", "shop", "key:shop", "bot")
    assert (holder.metrics, holder.admin, holder.until) == (True, False, None)
    assert "anything" in holder.read
    assert "chat/7" in holder.publish
    assert "news" not in holder.publish
    for other in (key[:-1], key + "=", key.upper(), key.removeprefix("rck_"), ""):
        assert Keys([row(key)]).with_hash(sha256(other)) is None


def test_two_keys_of_one_name_have_their_own_grants_and_one_scope() -> None:
    old, new = new_key("shop"), new_key("shop")
    keys = Keys([row(old), row(new, read=("news",))])
    first, second = keys.with_hash(sha256(old)), keys.with_hash(sha256(new))
    assert first
    assert second
    assert (first.scope, first.name) == (second.scope, second.name)
    assert "other" in first.read
    assert "other" not in second.read
    assert first.grantor != second.grantor


def test_a_ticket_belongs_to_its_key_and_not_to_another_of_the_same_name() -> None:
    key = new_key("shop")
    keys = Keys([row(key)])
    assert keys.get(Grantor("shop", sha256(key)[:32])) is not None
    assert keys.get(Grantor("shop", sha256(new_key("shop"))[:32])) is None
    assert keys.get(Grantor("shop")) is None
