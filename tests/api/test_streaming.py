"""A stream that begins a moment after its start was found."""

from __future__ import annotations

from roomcast.api.answer import NO_FIELDS, Streaming
from roomcast.delivery.engine import Engine
from roomcast.delivery.gap import Opening
from tests.delivery.fakes import ROOM, FakeConnection


async def test_a_stream_is_sent_away_if_the_log_began_a_new_epoch_while_its_head_was_sent(engine: Engine) -> None:
    streaming = Streaming(engine, ROOM, Opening(0), "text/event-stream", NO_FIELDS)
    engine.hub.restart("other", 0, 0)
    connection = FakeConnection()
    streaming.begin(connection, b"head", chunked=False)
    assert not connection.open
    assert b"retry: " in connection.heard
    assert not engine.streams.active


async def test_a_stream_begins_in_the_epoch_of_its_start(engine: Engine) -> None:
    connection = FakeConnection()
    Streaming(engine, ROOM, Opening(0), "text/event-stream", NO_FIELDS).begin(connection, b"head", chunked=False)
    assert connection.open
    assert connection.heard.startswith(b"head")
