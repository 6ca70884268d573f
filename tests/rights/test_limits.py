"""How many streams a principal may have, and how much it may publish."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.raw import Raw
from tests.rights.serving import (
    ALL,
    LIMITED,
    NDJSON,
    PAGE,
    SSE,
    Way,
    bearer,
    get,
    own,
    publish,
    request,
    ticket,
    two_ways,
)
from tests.running import wait_for

TARGET = "/messages?room=public/a"


def is_let_in(way: Way, *fields: str, target: str = TARGET) -> bool:
    """Whether a stream gets live; otherwise it has ended, and its client was told to retry."""
    with Raw(way.port, get(target, *fields)) as connection:
        assert connection.answer(to_head=True).status == 200
        try:
            connection.until(b"live")
        except AssertionError as ended:
            if "retry" not in str(ended):
                raise
            return False
        return True


def metric(way: Way, kind: str, limit: str) -> float:
    text = way.ask(get("/metrics", bearer(ALL))).body.decode()
    [line] = [one for one in text.splitlines() if f'limit="{limit}",principal="{kind}"' in one]
    return float(line.rpartition(" ")[2])


@pytest.mark.parametrize("accept", [SSE, NDJSON])
def test_a_stream_above_the_limit_is_told_to_retry(way: Way, accept: str) -> None:
    sub = f"streams-{way.name}-{accept}"
    before = metric(way, "ticket", "streams")

    def fields() -> tuple[str, str]:  # each a ticket of its own, all of one person
        return bearer(ticket("public/a", by="limited", sub=sub)), accept

    with ExitStack() as stack:
        streams = [stack.enter_context(way.open(get(TARGET, *fields()))) for _ in "ab"]
        for stream in streams:
            stream.until(b"live")
        assert not is_let_in(way, *fields())
        assert metric(way, "ticket", "streams") == before + 1
        # A page is not a stream, and other principals have streams of their own.
        assert way.ask(get(TARGET, PAGE, fields()[0])).status == 200
        assert way.ask(request("HEAD", TARGET, *fields())).status == 200
        other = bearer(ticket("public/a", by="limited", sub=f"{sub}-other"))
        assert is_let_in(way, other, accept)
        streams[0].socket.close()
        wait_for(lambda: is_let_in(way, *fields()), "a place for another stream")


def test_the_stream_that_replaces_another_takes_its_place(way: Way) -> None:
    sub = f"replaces-{way.name}"
    url = f"{TARGET}&ticket={ticket('public/a', by='limited', sub=sub)}"
    other = bearer(ticket("public/a", by="limited", sub=sub))
    with way.open(get(TARGET, SSE, other)) as second, way.open(get(url, SSE)) as first:
        second.until(b"live")
        first.until(b"live")
        assert is_let_in(way, SSE, target=url)
        assert b"replaced" in first.rest()


def test_a_token_and_its_ticket_are_one_person(way: Way) -> None:
    """It stands for a hundred streams of one person."""
    sub = f"both-{way.name}"
    sent = bearer(own("public/a", sub=sub))
    asked = way.ask(publish({"rooms": ["public/a"]}, sent, target="/tickets"))
    its_ticket = bearer(asked.json["ticket"])
    with ExitStack() as stack:
        for number in range(100):
            stream = stack.enter_context(way.open(get(TARGET, SSE, its_ticket if number % 2 else sent)))
            stream.until(b"live")
        assert not is_let_in(way, SSE, its_ticket)
        assert not is_let_in(way, SSE, sent)
        assert is_let_in(way, SSE, bearer(own("public/a", sub=f"{sub}x")))


def test_each_ticket_without_a_sub_counts_by_itself(way: Way) -> None:
    with ExitStack() as stack:
        for _ in range(4):
            fields = (SSE, bearer(ticket("public/a", by="limited")))
            stack.enter_context(way.open(get(TARGET, *fields))).until(b"live")


def test_a_key_has_no_limit_of_streams_unless_it_is_given_one(way: Way) -> None:
    with ExitStack() as stack:
        for _ in range(120):
            stack.enter_context(way.open(get(TARGET, SSE, bearer(ALL))))


def test_a_person_has_a_hundred_streams_by_default(way: Way) -> None:
    sub = f"hundred-{way.name}"
    with ExitStack() as stack:
        for _ in range(100):
            fields = (SSE, bearer(ticket("public/a", sub=sub)))
            stack.enter_context(way.open(get(TARGET, *fields))).until(b"live")
        assert not is_let_in(way, SSE, bearer(ticket("public/a", sub=sub)))


def test_a_publish_beyond_the_rate_is_429_with_retry_after(way: Way) -> None:
    sub, before = f"rate-{way.name}", metric(way, "ticket", "publish")

    def post(text: str = "x", **more: object) -> bytes:
        sent = bearer(ticket("public/a", by="limited", sub=sub, publish=["public/a"]))
        return publish({"room": "public/a", "text": text, **more}, sent)

    assert [way.ask(post()).status for _ in range(4)] == [201, 201, 201, 429]
    refused = way.ask(post())
    assert 500 < int(refused.headers["retry-after"]) <= 600
    assert refused.json["type"].endswith(":too-many")
    assert metric(way, "ticket", "publish") == before + 2
    other = bearer(ticket(by="limited", sub=f"{sub}-other", publish=["public/a"]))
    assert way.ask(publish({"room": "public/a", "text": "x"}, other)).status == 201


def test_a_batch_counts_as_its_messages(way: Way) -> None:
    sent = bearer(ticket(by="limited", sub=f"batch-{way.name}", publish=["public/a"]))
    batch = [{"room": "public/a", "text": "x"}] * 5
    assert way.ask(publish(batch, sent)).status == 201
    refused = way.ask(publish(batch[0], sent))
    assert refused.status == 429
    assert 1700 < int(refused.headers["retry-after"]) <= 1800  # the debt, and one message


def test_429_comes_before_the_body(way: Way) -> None:
    sent = bearer(ticket(by="limited", sub=f"body-{way.name}", publish=["public/a"]))
    for _ in range(3):
        way.ask(publish({"room": "public/a", "text": "x"}, sent))
    head = request("POST", "/messages", "Content-Type: application/json", sent, "Content-Length: 1000000")
    assert way.ask(head).status == 429


def test_a_key_is_one_principal_and_its_tickets_are_others(way: Way) -> None:
    if way.name == "h11":
        pytest.skip("one server with the fast path, whose test has used the rate up")
    assert [way.ask(publish({"room": "a", "text": "x"}, bearer(LIMITED))).status for _ in range(4)][-1] == 429
    sent = bearer(ticket(by="limited", sub="of-the-key", publish=["public/a"]))
    assert way.ask(publish({"room": "public/a", "text": "x"}, sent)).status == 201


# Strangers


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Way]]:
    grants = ["read:public/*", "publish:public/*", "streams:2", "publish_rate:1/h", "publish_burst:2"]
    with two_ways(tmp_path_factory.mktemp("strangers"), *(f"--anonymous={grant}" for grant in grants)) as ways:
        yield ways


@pytest.mark.parametrize("number", [0, 1], ids=["fast", "h11"])
def test_strangers_are_counted_by_address(strangers: Sequence[Way], number: int) -> None:
    way = strangers[number]
    one, two = (f"X-Forwarded-For: 192.0.2.{n + 10 * number}" for n in (1, 2))
    message = {"room": "public/a", "text": "x"}
    assert [way.ask(publish(message, one)).status for _ in range(3)] == [201, 201, 429]
    assert way.ask(publish(message, two)).status == 201
    with way.open(get(TARGET, SSE, one)), way.open(get(TARGET, SSE, one)):
        assert not is_let_in(way, SSE, one)
        assert is_let_in(way, SSE, two)


def test_limits_of_strangers_hold_on_an_open_server(tmp_path: Path) -> None:
    with two_ways(tmp_path, "--open", "--anonymous=publish_rate:1/h") as ways:
        message = publish({"room": "a", "text": "x"})
        assert [way.ask(message).status for way in ways] == [201, 429]
        assert 'roomcast_limited_total{limit="publish",principal="anonymous"} 1.0' in (
            ways[0].ask(get("/metrics")).body.decode()
        )
