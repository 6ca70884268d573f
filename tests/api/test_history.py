"""Pages of history around lost messages."""

from __future__ import annotations

from typing import Any

import msgspec

from roomcast.http.context import Context
from tests.delivery.fakes import store, until
from tests.http.clients import answered


async def page(context: Context, query: str) -> tuple[dict[str, Any], bytes]:
    """A page as JSON, and the head of its answer."""
    line = f"GET /messages?room=a&{query} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n"
    head, _, body = (await answered(context, line.encode())).written.partition(b"\r\n\r\n")
    return msgspec.json.decode(body), head


async def test_a_page_ends_before_a_second_gap_and_links_to_the_rest(context: Context) -> None:
    engine = context.handler._engine
    await store(engine.log, "a", 6)
    await until(lambda: engine.hub.position == 6)
    ids = [f"{engine.log.epoch}-{seq}" for seq in range(7)]
    for seq in (2, 4, 6):
        await engine.log.delete(seq)
    first, head = await page(context, f"after={ids[1]}")
    assert ([one["id"] for one in first["messages"]], first["position"]) == ([ids[3]], ids[3])
    assert (first["gap"]["reason"], first["gap"]["lost_at_most"]) == ("deleted", 1)
    assert f"after={ids[3]}".encode() in head
    second, head = await page(context, f"after={ids[3]}")  # its second gap comes after the last message
    assert ([one["id"] for one in second["messages"]], second["position"]) == ([ids[5]], ids[5])
    assert b'rel="next"' in head
    third, head = await page(context, f"after={ids[5]}")
    assert (third["messages"], third["position"]) == ([], ids[6])
    assert third["gap"]["reason"] == "deleted"
    assert b'rel="next"' not in head
