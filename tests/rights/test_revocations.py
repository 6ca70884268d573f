"""Rights that end: by `POST /revocations`, and by a configuration that is read again."""

from __future__ import annotations

import json
import signal
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.auth.signing import pem
from tests.auth.signing import token as signed
from tests.raw import JSON, Raw
from tests.rights.serving import (
    ALL,
    ISS,
    NARROW,
    NDJSON,
    OTHER_SECRETS,
    PAGE,
    READER,
    SECRET,
    SSE,
    Way,
    bearer,
    configured,
    get,
    own,
    publish,
    request,
    ticket,
    token_of,
    two_ways,
)

PROMISED = 5.0
"""Seconds until a right has ended everywhere."""


def revoke(body: object, *fields: str) -> bytes:
    return publish(body, *(fields or (bearer(ALL),)), target="/revocations")


def given(sub: str, age: float = 1) -> str:
    """A ticket that was issued to this person a second ago."""
    return ticket("user/42", sub=sub, age=age)


def status(way: Way, credential: str, target: str = "/messages?room=user/42") -> int:
    return way.ask(get(target, PAGE, bearer(credential))).status


def test_the_older_credentials_of_a_person_end_and_nothing_else(way: Way) -> None:
    sub = f"sub-{way.name}"
    mine, others, later = given(sub), given(f"{sub}x"), given(sub, age=-2)
    nameless, older = ticket("user/42", age=1), given(f"{sub}-older", age=100)
    assert status(way, mine) == 200  # and it is remembered
    answer = way.ask(revoke({"sub": sub}))
    assert (answer.status, answer.body) == (204, b"")
    refused = way.ask(get("/messages?room=user/42", PAGE, bearer(mine)))
    assert refused.status == 401
    assert refused.json["detail"] == "not valid"
    assert [status(way, one) for one in (others, later, nameless, ALL, older)] == [200] * 5
    assert status(way, given(sub)) == 401  # also a ticket that was never sent before
    for accept in (SSE, NDJSON):
        data = get(f"/messages?room=user/42&ticket={mine}", accept)
        assert way.ask(data).status == 401
    # Before a moment that lies between two of them.
    moment = (datetime.now(UTC) - timedelta(seconds=50)).isoformat()
    young = given(f"{sub}-older")
    assert way.ask(revoke({"sub": f"{sub}-older", "before": moment})).status == 204
    assert [status(way, one) for one in (older, young)] == [401, 200]
    # An earlier moment takes nothing back.
    assert way.ask(revoke({"sub": sub, "before": moment})).status == 204
    assert status(way, mine) == 401


def test_a_revocation_for_one_issuer_ends_no_ticket_of_a_key(way: Way) -> None:
    mine = given(f"iss-{way.name}")
    for iss in ("https://issuer.example", "all"):
        assert way.ask(revoke({"sub": f"iss-{way.name}", "iss": iss})).status == 204
    assert status(way, mine) == 200


def test_tokens_end_by_when_they_were_issued_and_by_whom(way: Way) -> None:
    sub, now = f"token-{way.name}", time.time()
    mine, of_issuer = own("user/42", sub=sub, iat=now - 10), token_of(ISS, sub=sub, iat=now - 10)
    later, undated = own("user/42", sub=sub, iat=now + 5), _undated(sub)
    answer = way.ask(publish({"rooms": [f"user/{sub}"]}, bearer(of_issuer), target="/tickets"))
    its_ticket = answer.json["ticket"]

    def statuses() -> list[int]:
        theirs = f"/messages?room=user/{sub}"
        own_rooms = [status(way, one) for one in (mine, later, undated)]
        return [*own_rooms, *(status(way, one, theirs) for one in (of_issuer, its_ticket))]

    assert statuses() == [200] * 5
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()  # the ticket is of this second
    assert way.ask(revoke({"sub": sub, "iss": ISS, "before": soon})).status == 204
    assert statuses() == [200, 200, 200, 401, 401]
    assert way.ask(revoke({"sub": sub})).status == 204
    assert statuses() == [401, 200, 401, 401, 401]


def _undated(sub: str) -> str:
    """A token without `iat`."""
    claims = {"sub": sub, "exp": time.time() + 900, "roomcast": {"read": ["user/42"]}}
    return signed(claims, key=SECRET.encode())


@pytest.mark.parametrize("accept", [SSE, NDJSON])
def test_streams_of_revoked_credentials_end_with_the_reason(way: Way, accept: str) -> None:
    sub = f"stream-{way.name}-{accept}"
    url = f"/messages?room=user/42&ticket={given(sub)}"
    by_header = get("/messages?room=user/42", accept, bearer(given(sub)))
    with way.open(get(url, accept)) as one, way.open(by_header) as two, ExitStack() as stack:
        others = [bearer(ALL), bearer(given(f"{sub}x")), bearer(own("user/42", sub=f"{sub}x"))]
        by_token = own("user/42", sub=sub, iat=time.time() - 1)
        three = stack.enter_context(way.open(get("/messages?room=user/42", accept, bearer(by_token))))
        going = [stack.enter_context(way.open(get("/messages?room=user/42", accept, sent))) for sent in others]
        for stream in (one, two, three, *going):
            stream.until(b"live")
        began = time.monotonic()
        assert way.ask(revoke({"sub": sub})).status == 204
        for stream in (one, two, three):
            stream.until(b"roomcast.end" if accept == SSE else b'"end"')
            assert b'{"reason":"revoked"}' in stream.rest()
        assert time.monotonic() - began < PROMISED
        assert way.ask(get(url, accept, "Last-Event-ID: x")).status == 401
        assert way.ask(publish({"room": "user/42", "text": "to the others"}, bearer(ALL))).status == 201
        for stream in going:
            stream.until(b"to the others")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((), 401),
        ((bearer("x"),), 401),
        ((bearer(READER),), 403),
        ((bearer(ticket("user/42", by="all")),), 403),
        ((bearer(ALL), "Content-Type: text/plain"), 415),
    ],
    ids=["a stranger", "a bad key", "a key without the right", "a ticket", "no JSON"],
)
def test_only_a_key_with_the_right_revokes(way: Way, fields: tuple[str, ...], expected: int) -> None:
    own = [field for field in fields if field.startswith("Content-Type")] or [JSON]
    sent = [field for field in fields if not field.startswith("Content-Type")]
    data = request("POST", "/revocations", *own, *sent, body=b'{"sub":"nobody"}')
    assert way.ask(data).status == expected


@pytest.mark.parametrize(
    ("body", "expected", "place"),
    [
        ({}, 422, "/sub"),
        ({"sub": ""}, 422, "/sub"),
        ({"sub": 42}, 422, "/sub"),
        ({"sub": "4\n2"}, 422, "/sub"),
        ({"sub": "x" * 129}, 422, "/sub"),
        ({"sub": "42", "iss": ""}, 422, "/iss"),
        ({"sub": "42", "iss": ["a"]}, 422, "/iss"),
        ({"sub": "42", "before": 5}, 422, "/before"),
        ({"sub": "42", "before": "yesterday"}, 422, "/before"),
        ({"sub": "42", "before": "2999-01-01T00:00:00Z"}, 422, "/before"),
        ({"sub": "42", "until": "x"}, 422, "/until"),
        ([{"sub": "42"}], 422, ""),
        (b"{", 400, ""),
    ],
    ids=str,
)
def test_the_faults_of_a_revocation_are_named(way: Way, body: object, expected: int, place: str) -> None:
    answer = way.ask(revoke(body))
    assert answer.status == expected
    if expected == 422:
        assert answer.json["errors"][0]["pointer"] == place


def test_a_revocation_is_in_the_audit_and_outlives_a_restart(tmp_path: Path) -> None:
    mine, log = given("42"), f"sqlite:{tmp_path / 'log.db'}"
    config = f"--config={configured(tmp_path)}"
    with two_ways(tmp_path, config, log=log) as ways:
        assert ways[0].ask(revoke({"sub": "42"})).status == 204
        assert [status(way, mine) for way in ways] == [401, 401]
        ways[0].running.wait_until_it_says(r"revoked: all credentials of 42 issued before \S+Z, by all")
        assert "not valid" not in ways[0].running.said()
    with two_ways(tmp_path, config, log=log) as ways:
        assert [status(way, mine) for way in ways] == [401, 401]
        assert status(ways[0], given("42", age=-5)) == 200


def test_a_server_that_checks_no_credentials_cannot_revoke_any(local: Way) -> None:
    assert local.ask(revoke({"sub": "42"})).status == 501


# Case 47: SIGHUP


def test_47_a_right_removed_from_the_file_ends_its_streams_and_a_broken_file_ends_none(
    tmp_path: Path,
) -> None:
    file = configured(tmp_path)
    good = file.read_text()
    file.write_text(f"anonymous = {{ read = ['public/*'] }}\n{good}")
    by_narrow = ticket("user/42", by="narrow")
    ending = {
        "a key that is removed": ("user/42", (bearer(NARROW),)),
        "the ticket of a key that is removed": ("user/42", (bearer(by_narrow),)),
        "a key with fewer rooms": ("user/4711", (bearer(READER),)),
        "a ticket that is revoked": ("user/42", (bearer(given("42")),)),
        "a stranger": ("public/a", ()),
    }
    with two_ways(tmp_path, f"--config={file}") as ways, ExitStack() as stack:
        running = ways[0].running

        def opened(room: str, fields: tuple[str, ...]) -> list[Raw]:
            target = f"/messages?room={room}"
            streams = [stack.enter_context(way.open(get(target, SSE, *fields))) for way in ways]
            for stream in streams:
                stream.until(b"live")
            return streams

        ended = {what: opened(room, fields) for what, (room, fields) in ending.items()}
        going = [*opened("user/42", (bearer(ALL),)), *opened("user/42", (bearer(given("43")),))]
        fewer = opened("user/43", (bearer(READER),))

        file.write_text("anonymous = {}\n[[key]]\nname = 'broken'\n")
        running.process.send_signal(signal.SIGHUP)
        running.wait_until_it_says("the configuration stays as it was")
        for way in ways:
            way.ask(publish([{"room": room, "text": "still there"} for room, _ in ending.values()], bearer(ALL)))
        for stream in [*going, *(stream for streams in ended.values() for stream in streams)]:
            stream.until(b"still there")

        file.write_text(_without(good))
        began = time.monotonic()
        running.process.send_signal(signal.SIGHUP)
        for what, streams in ended.items():
            for stream in streams:
                assert b'{"reason":"revoked"}' in stream.rest(), what
        assert time.monotonic() - began < PROMISED
        running.wait_until_it_says("the rights were read again")
        batch = [{"room": room, "text": "to the others"} for room in ("user/42", "user/43")]
        assert ways[0].ask(publish(batch, bearer(ALL))).status == 201
        for stream in [*going, *fewer]:
            stream.until(b"to the others")
        for room, fields in ending.values():
            answer = ways[0].ask(get(f"/messages?room={room}", SSE, *fields))
            assert answer.status in (401, 403)


def _without(good: str) -> str:
    """The file without the key narrow, with fewer rooms for reader, without strangers, and with a revocation."""
    head, *rows = good.split("[[key]]\n")
    kept = [row for row in rows if '"narrow"' not in row]
    [reader] = [row for row in kept if '"reader"' in row]
    kept[kept.index(reader)] = reader.replace('read = ["*"]', 'read = ["user/43"]')
    moment = (datetime.now(UTC)).isoformat()
    return head + "".join(f"[[key]]\n{row}" for row in kept) + f'[[revoked]]\nsub = "42"\nbefore = {moment}\n'


def test_47_removing_a_secret_ends_the_credentials_that_it_signed(tmp_path: Path) -> None:
    (tmp_path / "new").write_text(SECRET[::-1])
    file = configured(tmp_path)
    keys = file.read_text().partition("[[key]]")[2]
    old, new = str(tmp_path / "secret"), str(tmp_path / "new")
    file.write_text(f"secret_files = {json.dumps([new, old])}\n[[key]]{keys}")
    with two_ways(tmp_path, f"--config={file}") as ways:
        way = ways[0]
        claims = {"sub": "42", "exp": time.time() + 900, "roomcast": {"read": ["user/42"]}}
        first = [ticket("user/42"), signed(claims, key=SECRET.encode())]
        second = [ticket("user/42", secrets=OTHER_SECRETS), signed(claims, key=SECRET[::-1].encode())]
        streams = [way.open(get("/messages?room=user/42", SSE, bearer(one))) for one in [*first, *second]]
        for stream in streams:
            stream.until(b"live")
        file.write_text(f"secret_files = {json.dumps([new])}\n[[key]]{keys}")
        way.running.process.send_signal(signal.SIGHUP)
        for stream in streams[:2]:
            assert b"revoked" in stream.rest()
        assert [status(way, one) for one in [*first, *second]] == [401, 401, 200, 200]
        way.ask(publish({"room": "user/42", "text": "to the others"}, bearer(ALL)))
        for stream in streams[2:]:
            stream.until(b"to the others")
        for stream in streams:
            stream.socket.close()


def test_47_an_issuer_that_grants_less_or_is_removed_ends_its_own_streams_only(tmp_path: Path) -> None:
    file = configured(tmp_path)
    good = file.read_text()
    (tmp_path / "other.pem").write_bytes(pem("ES256", "other"))
    second = (
        '[[issuer]]\niss = "https://second.example"\naudience = "roomcast"\nread = ["user/{sub}"]\n'
        f'public_keys = ["{tmp_path / "public.pem"}"]\n'
    )
    file.write_text(good + second)
    with two_ways(tmp_path, f"--config={file}") as ways, ExitStack() as stack:
        way = ways[0]
        tokens = [token_of(ISS), token_of("https://second.example"), own("user/42")]

        def follow() -> list[Raw]:
            heads = [get("/messages?room=user/42", SSE, bearer(one)) for one in tokens]
            streams = [stack.enter_context(way.open(head)) for head in heads]
            for stream in streams:
                stream.until(b"live")
            return streams

        def hangup(text: str) -> None:
            file.write_text(text)
            way.running.process.send_signal(signal.SIGHUP)

        def hear(*streams: Raw) -> None:
            assert way.ask(publish({"room": "user/42", "text": "to the others"}, bearer(ALL))).status == 201
            for stream in streams:
                stream.until(b"to the others")

        first, other, secret = follow()
        hangup(good + second.replace("user/{sub}", "person/{sub}"))
        assert b"revoked" in other.rest()
        hear(first, secret)
        hangup(good)  # the second is gone, and nothing else has changed
        hear(first, secret)
        hangup(good.replace("public.pem", "other.pem"))
        assert b"revoked" in first.rest()
        hear(secret)
