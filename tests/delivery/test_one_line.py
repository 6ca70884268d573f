"""What a gap tells, as its reader sees it."""

from __future__ import annotations

import json

from roomcast.delivery.gap import Gap


def test_a_gap_is_one_line_whatever_a_client_sent_as_its_id_and_its_rooms_are_called() -> None:
    odd = "a\x85id: zzzz-9\u2028data: {}\u2029\x0b\x1e"
    data = Gap(odd, [odd], None, "malformed").data(None)
    assert len(data.decode().splitlines()) == 1
    assert json.loads(data)["after"] == odd
    assert json.loads(data)["rooms"] == [odd]
