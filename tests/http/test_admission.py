"""The rate of a client's address, which a publish draws on, and tickets where none count."""

from __future__ import annotations

from roomcast.auth.guard import NO_GUARD, Guard, Mode
from roomcast.auth.keys import Keys, sha256
from roomcast.auth.rights import ConfiguredRights
from roomcast.delivery.engine import Engine
from roomcast.http.context import Context
from roomcast.http.handler import Handler
from roomcast.model.settings import Settings
from roomcast.model.settings.key import Key
from tests.http.clients import BODY, PUBLISH, answered


def batch(count: int) -> bytes:
    body = b"[" + b",".join([BODY] * count) + b"]"
    return PUBLISH.replace(b"Length: 26", b"Length: %d" % len(body)).replace(BODY, body)


async def test_each_message_of_a_batch_is_taken_from_the_rate_of_its_address() -> None:
    engine = await Engine.open(Settings(log="memory:", publish_rate=0.001, publish_burst=3))
    context = Context(Handler(engine, NO_GUARD), engine)
    statuses = [(await answered(context, data)).written[9:12] for data in (batch(2), batch(1), batch(1))]
    assert statuses == [b"201", b"201", b"429"]
    await engine.close()


async def test_a_ticket_in_the_url_of_a_publish_is_ignored_where_everybody_may_publish(engine: Engine) -> None:
    rights = ConfiguredRights(keys=Keys([Key(name="some", sha256=sha256("rck_some_" + "k" * 43), read=("*",))]))
    context = Context(Handler(engine, Guard(Mode.OPEN, rights)), engine)
    sent = PUBLISH.replace(b"/messages ", b"/messages?ticket=x ")
    assert (await answered(context, sent)).written.startswith(b"HTTP/1.1 201 ")
