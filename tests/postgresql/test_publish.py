"""`select roomcast.publish(room, message)`: messages that exist if and only if a transaction commits."""

from __future__ import annotations

import asyncio
import time

import asyncpg
import pytest

from roomcast.log.postgresql import log as postgresql_log
from roomcast.log.postgresql.log import PostgresLog
from roomcast.log.postgresql.tuning import PostgresTuning
from roomcast.model.retention import Retention
from tests.log.steps import next_batch, publish, rooms, take, until
from tests.postgresql.calls import Calls
from tests.postgresql.conftest import Open
from tests.postgresql.database import Cluster

LONGEST = 64_000 - len('{"room":"a","user":"anonymous","text":""}')
"""The most bytes of a text that a message to the room `a` may have."""


def json(text: str) -> str:
    return '{"text":"' + text + '"}'


async def connect(url: str) -> asyncpg.Connection:
    return await asyncpg.connect(url)


async def texts(log: PostgresLog, room: str = "orders") -> list[bytes]:
    return [message.body for message in (await log.read(rooms(room), 0, 1_000)).messages]


async def test_a_message_exists_if_and_only_if_the_transaction_commits(open_log: Open, url: str) -> None:
    log = await open_log()
    tail = log.consumer("test", 0)
    application = await connect(url)
    rolled_back = application.transaction()
    await rolled_back.start()
    await application.execute("""select roomcast.publish('orders', '{"text": "never"}')""")
    await rolled_back.rollback()
    async with application.transaction():
        await application.execute("""select roomcast.publish('orders', '{"text": "one", "data": 1.10}')""")
        await application.execute("""select roomcast.publish('orders', '{"text": "two", "type": "paid"}')""")
    messages = await take(tail, 2)
    assert [(m.room, m.type) for m in messages] == [("orders", None), ("orders", "paid")]
    assert b'"data":1.10' in messages[0].body
    assert log.outbox_moved == 2
    assert await application.fetchval("select count(*) from roomcast.outbox") == 0
    await application.close()


async def test_a_slow_transaction_that_publishes_holds_up_nobody(open_log: Open, url: str) -> None:
    log = await open_log()
    application = await connect(url)
    async with application.transaction():
        await application.execute("""select roomcast.publish('orders', '{"text": "slow"}')""")
        began = time.monotonic()
        await publish(log, "other")
        assert time.monotonic() - began < 1
        assert await texts(log) == []

    async def moved() -> bool:
        return len(await texts(log)) == 1

    await until(moved)
    await application.close()


async def test_a_message_published_with_notify_is_moved_at_once(open_log: Open, url: str) -> None:
    log = await open_log(tuning=PostgresTuning(active_poll=60, idle_poll=60))
    tail = log.consumer("test", 0)
    await Calls(log).until_answered("forget_keys")  # its last query before it waits for a minute
    application = await connect(url)
    waiting = asyncio.create_task(next_batch(tail))
    await application.execute("""select roomcast.publish('orders', '{"text": "now"}', notify => true)""")
    assert len((await waiting).messages) == 1
    await application.close()


@pytest.mark.parametrize(
    ("room", "message", "says"),
    [
        ("", '{"text": "x"}', "room must be 1 to 128"),
        ("$x", '{"text": "x"}', "not starting with"),
        ("a\tb", '{"text": "x"}', "no control characters"),
        ("a\n", '{"text": "x"}', "no control characters"),
        ("r" * 129, '{"text": "x"}', "room must be 1 to 128"),
        ("a", "nonsense", "invalid input syntax for type json"),
        ("a", '["text"]', "must be a JSON object"),
        ("a", "null", "must be a JSON object"),
        ("a", "{}", "neither text nor data"),
        ("a", '{"text": ""}', "text must be"),
        ("a", '{"text": 1}', "text must be"),
        ("a", '{"text": null}', "text must be"),
        ("a", '{"text": "x", "user": ""}', "user must be"),
        ("a", '{"text": "x", "user": "a\\u0007"}', "user must be"),
        ("a", '{"text": "x", "type": "error"}', "type must be"),
        ("a", '{"text": "x", "type": "roomcast.x"}', "type must be"),
        ("a", '{"text": "x", "type": "a\\u2028b"}', "type must be"),
        ("a", '{"text": "x", "room": "b"}', 'unknown field "room"'),
        ("a", '{"text": "\\ud800"}', "invalid input syntax for type json"),
        ("a", '{"text": "' + "x" * 64_000 + '"}', "more than the 64000"),
        ("a", json("x" * (LONGEST + 1)), "takes 64001 bytes when stored, more than the 64000"),
        ("a", json("\u2028" * (LONGEST // 6 + 1)), "more than the 64000"),
        ("\u2028", json("x" * (LONGEST - 4)), "takes 64001 bytes when stored, more than the 64000"),
    ],
)
async def test_a_message_that_a_post_would_refuse_fails_in_the_transaction(
    postgresql: Cluster, one_log: str, room: str, message: str, says: str
) -> None:
    application = await connect(one_log)
    try:
        with pytest.raises(asyncpg.PostgresError, match=says):
            await application.execute("select roomcast.publish($1, $2)", room, message)
        assert await application.fetchval("select count(*) from roomcast.outbox") == 0
    finally:
        await application.close()


@pytest.fixture(scope="module")
def one_log(postgresql: Cluster) -> str:
    """A database with the schema, on which no server runs."""
    url = postgresql.url()

    async def make() -> None:
        await (await postgresql_log.open_log(url, "//", retention=Retention())).close()

    asyncio.run(make())
    return url


async def test_a_message_that_cannot_be_moved_is_kept_with_the_reason(
    open_log: Open, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = await open_log(retention=Retention(max_bytes=100))
    application = await connect(url)
    for message in ('{"data": 1e999}', '{"text": "' + "x" * 200 + '"}', '{"text": "good"}'):
        await application.execute("select roomcast.publish('orders', $1)", message)

    async def moved() -> bool:
        return (log.outbox_moved, log.outbox_refused) == (1, 2)

    await until(moved)
    kept = await application.fetch("select message, why from roomcast.outbox_refused order by id")
    assert kept[0]["message"] == '{"data": 1e999}'
    assert "the log retains 100" in kept[1]["why"]
    assert caplog.text.count("is in roomcast.outbox_refused") == 2
    assert len(await texts(log)) == 1
    await application.close()


@pytest.mark.parametrize(
    ("room", "message"),
    [
        ("a", json("x" * LONGEST)),
        ("a", json("\u2028" * (LONGEST // 6))),
        ("\u2028", json("x" * (LONGEST - 5))),
        ('"' * 128, json("é" * 30_000)),
        ("a", '{"text":"' + "x" * (LONGEST + 8) + '","user":"u"}'),
        ("a", '{"data": {"deep": "\\u00e9 \\/", "digits": 1.100000000000000000001e2}}'),
    ],
)
async def test_a_message_that_publish_accepts_is_not_refused_later(
    open_log: Open, url: str, room: str, message: str
) -> None:
    log = await open_log()
    application = await connect(url)
    await application.execute("select roomcast.publish($1, $2)", room, message)
    await take(log.consumer("test", 0), 1)
    assert await application.fetchval("select count(*) from roomcast.outbox_refused") == 0
    await application.close()


async def test_very_many_messages_of_one_transaction_do_not_hold_up_a_post(open_log: Open, url: str) -> None:
    log = await open_log(retention=Retention(1_000_000, 1_000_000_000))
    application = await connect(url)
    await application.execute(
        "select roomcast.publish('orders', '{\"text\": \"x\"}') from generate_series(1, 20000)"
    )
    await Calls(log).until_answered("take_outbox")
    [message] = await publish(log, "other")
    assert message.seq < 20_000
    await application.close()


async def test_each_message_is_moved_by_one_of_several_servers_and_order_is_kept(open_log: Open, url: str) -> None:
    logs = [await open_log() for _ in range(3)]
    application = await connect(url)
    for number in range(500):
        await application.execute("select roomcast.publish('orders', $1)", f'{{"data":{number}}}')
    messages = await take(logs[0].consumer("test", 0), 500)
    assert [message.body.split(b'"data":')[1] for message in messages] == [b"%d}" % n for n in range(500)]
    assert sum(log.outbox_moved for log in logs) == 500
    await application.close()


async def test_only_members_of_the_role_may_publish_and_they_may_do_nothing_else(
    open_log: Open, postgresql: Cluster, url: str
) -> None:
    database = url.rpartition("/")[2]
    postgresql.sql(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'shop') THEN"
        " CREATE ROLE roomcast_publisher; CREATE ROLE shop LOGIN; CREATE ROLE stranger LOGIN;"
        " GRANT roomcast_publisher TO shop; END IF; END $$"
    )
    log = await open_log()
    statement = """select roomcast.publish('orders', '{"text": "x"}')"""
    postgresql.sql(statement, database, "shop")
    await take(log.consumer("test", 0), 1)
    for user, other in [
        ("stranger", statement),
        ("shop", "select * from roomcast.messages"),
        ("shop", "insert into roomcast.outbox (room, message) values ('a', '')"),
        ("shop", "select roomcast.delete_room('x', 0, 0, 'orders')"),
    ]:
        with pytest.raises(AssertionError, match="permission denied"):
            postgresql.sql(other, database, user)
    for number, hostile in enumerate(HOSTILE, 1):  # the function's settings are its own
        postgresql.sql(hostile + statement, database, "shop")
        await take(log.consumer("test", number), 1)
    unescaped = "set standard_conforming_strings = off; select roomcast.publish('$orders', '{\"text\": \"x\"}')"
    with pytest.raises(AssertionError, match="not starting with"):
        postgresql.sql(unescaped, database, "shop")


HOSTILE = [
    "create temp table outbox (room text, message text);",
    "create function pg_temp.json_typeof(json) returns text language sql as $$ select 'array' $$;"
    "set search_path = pg_temp, pg_catalog;",
    "create function pg_temp.length(text) returns int language sql as $$ select 1000000 $$;"
    "set search_path = pg_temp, pg_catalog, roomcast;",
]


async def test_a_notification_of_somebody_else_does_no_harm(
    open_log: Open, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = await open_log()
    stranger = await connect(url)
    for payload in ("", "²", "9" * 7_000, "-1", "outbox", "epoch"):
        await stranger.execute("select pg_notify('roomcast', $1)", payload)
    await publish(log, "a")
    await Calls(log).until_answered("load_news")
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    await stranger.close()
