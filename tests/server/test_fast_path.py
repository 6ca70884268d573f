"""The first protocol of a connection: what it serves and what it hands over to h11 are one server to a client."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.certificate import Certificate, TlsPort
from tests.observer import Observer
from tests.raw import Raw, post, request
from tests.running import Running, start_roomcast, wait_for

BODY = b'{"room":"a","text":"x"}'
HEALTHZ = request("GET", "/healthz")
_SMALL = 1_000
"""Bytes of a body that go into one segment."""


@pytest.fixture(scope="module", params=["memory:", "sqlite:front.db", "memory: over TLS"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("server")
    log, _, over = request.param.partition(" over ")
    running = start_roomcast(folder, "--log", log, certificate=Certificate(folder) if over else None)
    yield running
    assert "Traceback" not in running.said()
    running.end()


def sequence(answer_id: str) -> int:
    return int(answer_id.rpartition("-")[2])


def test_a_publish_split_anywhere_is_stored_once(server: Running) -> None:
    whole = post(BODY)
    with Raw(server.port) as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seqs = []
        for at in range(1, len(whole)):
            connection.send(whole[:at])
            connection.send(whole[at:])
            seqs.append(sequence(connection.answer().json["id"]))
    assert seqs == list(range(seqs[0], seqs[0] + len(whole) - 1))


def test_a_connection_goes_from_one_way_to_the_other_and_is_kept(server: Running) -> None:
    with Raw(server.port, post(BODY)) as connection:
        first = sequence(connection.answer().json["id"])
        connection.send(HEALTHZ)
        assert connection.answer().json["status"] == "ok"
        connection.send(post(BODY))
        assert sequence(connection.answer().json["id"]) == first + 1


def test_requests_that_arrive_while_a_publish_waits_are_served_after_it(server: Running) -> None:
    """Each has a segment of its own, so that the first is under way when the others arrive."""
    with Raw(server.port) as connection:
        for data in (post(BODY), post(BODY), HEALTHZ, post(BODY)):
            connection.send(data)
        first, second, healthy, third = (connection.answer() for _ in range(4))
        assert [a.status for a in (first, second, healthy, third)] == [201, 201, 200, 201]
        seqs = [sequence(a.json["id"]) for a in (first, second, third)]
        assert seqs == list(range(seqs[0], seqs[0] + 3))


def test_pipelined_publishes_are_stored_in_order(server: Running) -> None:
    bodies = [b'{"room":"a","text":"%d"}' % n for n in range(50)]
    with Raw(server.port, b"".join(post(body) for body in bodies)) as connection:
        answers = [connection.answer().json for _ in bodies]
    assert [answer["text"] for answer in answers] == [str(n) for n in range(50)]
    seqs = [sequence(answer["id"]) for answer in answers]
    assert seqs == sorted(set(seqs))


def test_a_client_that_asks_to_close_is_answered_and_closed(server: Running) -> None:
    asked = post(BODY).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
    with Raw(server.port, asked) as connection:
        answer = connection.answer()
        assert (answer.status, answer.headers["connection"]) == (201, "close")
        assert connection.rest() == b""


def test_a_client_that_ends_its_side_after_a_publish_is_answered_and_closed(server: Running) -> None:
    if isinstance(server.port, TlsPort):
        pytest.skip("over TLS the end of one side is the end of the connection")
    with Raw(server.port, post(BODY)) as connection:
        connection.end()
        assert connection.answer().status == 201
        assert connection.rest() == b""


@pytest.mark.parametrize(
    "garbage", [b"\0\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"], ids=["at once", "in a head"]
)
@pytest.mark.parametrize("between", [b"", HEALTHZ], ids=["behind it", "behind another"])
def test_garbage_after_a_publish_does_not_replace_its_answer(
    server: Running, between: bytes, garbage: bytes
) -> None:
    with Raw(server.port, post(BODY) + between + garbage) as connection:
        assert connection.answer().status == 201
        if between:
            assert connection.answer().json["status"] == "ok"
        rest = connection.rest()
        assert rest.startswith(b"HTTP/1.1 400 ")
        assert rest.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("cut", [10, -1], ids=["in the head", "in the body"])
def test_a_client_that_disconnects_in_the_middle_of_a_publish_stores_nothing(server: Running, cut: int) -> None:
    before = server.metric("roomcast_messages_published_total")
    with Raw(server.port, post(BODY)[:cut]) as connection:
        connection.end()
        assert connection.rest() == b""
    assert server.metric("roomcast_messages_published_total") == before


def test_a_body_of_any_size_is_stored_once(server: Running) -> None:
    """h11 reads the bodies that are too large to be buffered."""
    with Observer(server.port, "/messages?room=large&replay=none") as follower:
        assert follower.next().name == "live"
        for size in (_SMALL, 60_000, 64_000):
            body = b'{"room":"large","text":"%b"}' % (b"x" * size)
            padded = body + b" " * (200_000 if size == 60_000 else 0)
            with Raw(server.port, post(padded)) as connection:
                status = connection.answer().status
            assert status == (201 if size < 64_000 else 413)
            if status == 201:
                assert follower.next().json["text"] == "x" * size


def test_a_publisher_that_disconnects_before_its_answer_has_published(server: Running) -> None:
    with Observer(server.port, "/messages?room=gone&replay=none") as follower:
        assert follower.next().name == "live"
        for _ in range(20):
            Raw(server.port, post(b'{"room":"gone","text":"x"}')).socket.close()
        assert [follower.next().json["text"] for _ in range(20)] == ["x"] * 20
    wait_for(lambda: server.metric("roomcast_followers") == 0, "the follower's end")


def test_a_client_that_does_not_read_its_answers_is_not_read_from_until_it_does(server: Running) -> None:
    """Otherwise its answers would pile up without a bound."""
    body = b'{"room":"unread","text":"%b"}' % (b"x" * 60_000)
    with Raw(server.port) as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        sent = 0
        before = server.metric("roomcast_messages_published_total")
        for sent in range(1, 101):
            connection.send(post(body))
            if not _soon(lambda: server.metric("roomcast_messages_published_total") == before + sent):  # noqa: B023
                break
        assert 1 < sent < 50
        seqs = [sequence(connection.answer().json["id"]) for _ in range(sent)]
        assert seqs == list(range(seqs[0], seqs[0] + sent))
        connection.send(HEALTHZ)
        assert connection.answer().status == 200


def _soon(state: Callable[[], bool]) -> bool:
    end = time.monotonic() + 1
    while not state():
        if time.monotonic() > end:
            return False
    return True
