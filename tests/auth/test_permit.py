"""A request is permitted as a whole, or refused with the names of the rooms that are not granted."""

from __future__ import annotations

from typing import Any

import pytest

from roomcast.auth.grants import Grants
from roomcast.auth.permit import permit, require
from roomcast.auth.principal import NOBODY, Principal
from roomcast.model.errors import Forbidden, Invalid, Unauthenticated


def principal(kind: Any = "key", **more: Any) -> Principal:
    return Principal(
        **{
            "kind": kind,
            "name": "shop",
            "user": None,
            "read": Grants.parse(["news", "team/7/*"]),
            "publish": Grants.parse(["inbox", "\u200bx"]),
            **more,
        }
    )


def test_all_rooms_and_prefixes_of_a_request_must_be_granted() -> None:
    permit(principal(), "read", [])
    permit(principal(), "read", ["news", "team/7/a"], prefixes=["team/7/", "team/7/b"])
    permit(principal(), "publish", ["inbox"])
    for rooms, prefixes in ((["news", "inbox"], []), (["news"], ["news"]), ([], ["team/"]), ([], [""])):
        with pytest.raises(Forbidden):
            permit(principal(), "read", rooms, prefixes=prefixes)
    with pytest.raises(Forbidden):
        permit(principal(), "publish", ["inbox", "news"])


def test_each_refused_room_is_named_with_its_place() -> None:
    with pytest.raises(Forbidden) as raised:
        permit(principal(), "read", ["a", "news", "b"], "/rooms/{}", ["team/7/", "c"], "/prefixes/{}")
    faults = [(fault.pointer, fault.detail.partition(" ")[0]) for fault in raised.value.faults]
    assert faults == [("/rooms/0", "a"), ("/rooms/2", "b"), ("/prefixes/1", "c*")]
    assert raised.value.detail == "a may not be read with this credential"
    with pytest.raises(Forbidden, match="a may not be published to"):
        permit(principal(), "publish", ["a"])


def test_a_refusal_names_at_most_a_hundred_rooms() -> None:
    with pytest.raises(Forbidden) as raised:
        permit(principal(), "publish", [str(number) for number in range(1_000)])
    assert len(raised.value.faults) == 100


def test_a_stranger_is_asked_for_a_credential_and_others_lack_the_right() -> None:
    with pytest.raises(Unauthenticated, match="send a key, a ticket or a token"):
        permit(NOBODY, "read", ["news"])
    with pytest.raises(Unauthenticated):
        require(NOBODY, "publish")
    with pytest.raises(Forbidden, match="gives no right to admin"):
        require(principal(), "admin")
    require(principal(), "read")
    require(principal(metrics=True), "metrics")
    with pytest.raises(Forbidden):
        require(principal(read=Grants()), "read")


def test_a_room_with_invisible_characters_is_read_but_not_published_to() -> None:
    everywhere = principal(read=Grants.parse(["*"]), publish=Grants.parse(["*"]))
    permit(everywhere, "read", ["4\u200b2"])
    permit(everywhere, "publish", ["grüße", "群"])
    for room in ("4\u200b2", "\u202eabc", "a\u00adb"):
        with pytest.raises(Invalid, match="invisible characters") as raised:
            permit(everywhere, "publish", ["news", room], "/{}/room")
        assert [fault.pointer for fault in raised.value.faults] == ["/1/room"]
    with pytest.raises(Invalid):
        permit(principal(), "publish", ["\u200bx"])
