"""A credential in a cookie: which one decides, and whose pages may send it."""

from __future__ import annotations

import time
from typing import NamedTuple

import pytest

from tests.raw import JSON
from tests.rights.conftest import COOKIE, ORIGIN
from tests.rights.serving import (
    ALL,
    AWAY,
    FORMATS,
    ISS,
    NARROW,
    PAGE,
    SSE,
    WRITER,
    Way,
    bearer,
    get,
    own,
    publish,
    request,
    ticket,
    token_of,
)

FORM = "Content-Type: application/x-www-form-urlencoded"
OWN = "Sec-Fetch-Site: same-origin"
BAD = 'Bearer realm="roomcast", error="invalid_token"'


def cookie(credential: str, *others: str) -> str:
    """The header field."""
    return f"Cookie: {'; '.join([*others, f'{COOKIE}={credential}'])}"


def reads() -> list[tuple[str, tuple[str, ...], int]]:
    """The outcome of each follow of user/42; made for each test, because tickets expire."""
    good, ended = cookie(ticket("user/42")), cookie(ticket("user/42", age=4000))
    return [
        ("a ticket", (good, OWN), 200),
        ("a key", (cookie(NARROW), OWN), 200),
        ("a token", (cookie(own("user/42")), OWN), 200),
        ("a token of an issuer", (cookie(token_of(ISS)), OWN), 200),
        ("a token of an issuer whose keys are away", (cookie(token_of(AWAY)), OWN), 503),
        ("a token that has expired", (cookie(own("user/42", exp=time.time() - 40)), OWN), 401),
        ("a token of other rooms", (cookie(own("user/43")), OWN), 403),
        ("a ticket that opens no stream in a URL any more", (cookie(ticket("user/42", age=3000)), OWN), 200),
        ("among others", (cookie(ticket("user/42"), "a=b", "x__Host-roomcast=y"), OWN), 200),
        ("without spaces", (good.replace("; ", ";"), OWN), 200),
        ("of a client that is no browser", (good,), 200),
        ("an expired one", (ended, OWN), 401),
        ("an empty one", (cookie(""), OWN), 401),
        ("a key that is none", (cookie("rck_all_" + "x" * 43), OWN), 401),
        ("a token that nobody verifies", (cookie("eyJhbGciOiJub25lIn0.e30."), OWN), 401),
        ("twice", (cookie(NARROW, f"{COOKIE}={NARROW}"), OWN), 401),
        ("twice, in two headers", (cookie(NARROW), cookie(NARROW), OWN), 401),
        ("another's name", (cookie(NARROW).replace(COOKIE, "__host-roomcast"), OWN), 401),
        ("8 KiB of one", (cookie("x" * 8193), OWN), 400),
        ("of other rooms", (cookie(ticket("user/43")), OWN), 403),
        ("44 beside a good header", (cookie("x"), bearer(NARROW)), 200),
        ("44 beside a bad header", (good, bearer("x"), OWN), 401),
        ("44 beside a header that cannot be read", (good, "Authorization: x", OWN), 400),
        # Who may send it along.
        ("of another site", (good, "Sec-Fetch-Site: cross-site"), 403),
        ("of a sibling", (good, "Sec-Fetch-Site: same-site"), 403),
        ("of an image of a sibling", (good, "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors"), 403),
        ("of a link from elsewhere", (good, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"), 200),
        ("typed", (good, "Sec-Fetch-Site: none"), 200),
        ("of a named origin", (good, "Sec-Fetch-Site: cross-site", f"Origin: {ORIGIN}"), 200),
        ("42 of another origin", (good, "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"), 403),
        ("of no origin", (good, "Origin: null"), 403),
        ("an expired one of another site", (ended, "Sec-Fetch-Site: cross-site"), 403),
    ]  # fmt: skip


@pytest.mark.parametrize("accept", FORMATS)
@pytest.mark.parametrize("number", range(len(reads())), ids=[case[0] for case in reads()])
def test_a_follow_with_a_cookie(way: Way, number: int, accept: str) -> None:
    _, fields, status = reads()[number]
    for method in ("GET", "HEAD"):
        answer = way.ask(request(method, "/messages?room=user/42", accept, *fields), to_head=status == 200)
        if status == 503 and accept != PAGE and method == "GET":  # an EventSource would give up on it
            assert (answer.status, answer.body.strip().startswith((b"retry", b"{"))) == (200, True)
            continue
        assert answer.status == status, answer.body
        if status == 401:
            stranger = "another's name" in reads()[number][0]
            assert answer.headers["www-authenticate"] == ('Bearer realm="roomcast"' if stranger else BAD)


def test_5_an_expired_cookie_is_refused_on_a_public_room_too(way: Way) -> None:
    for ended in (ticket("public/a", age=4000), own("public/a", exp=time.time() - 40)):
        assert way.ask(get("/messages?room=public/a", SSE, cookie(ended), OWN)).status == 401
    assert way.ask(get("/messages?room=public/a", SSE, "Cookie: other=1", OWN), to_head=True).status == 200


def test_a_ticket_in_the_url_decides_before_a_cookie(way: Way) -> None:
    target = f"/messages?room=user/42&ticket={ticket('user/42')}"
    for fields in ((cookie("x"), OWN), (cookie(ALL), "Sec-Fetch-Site: cross-site")):
        assert way.ask(get(target, SSE, *fields), to_head=True).status == 200
    bad = get("/messages?room=user/42&ticket=x", SSE, cookie(ALL), OWN)
    assert way.ask(bad).status == 401


MESSAGE = {"room": "chat/7", "text": "x"}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ((OWN,), 201),
        ((f"Origin: {ORIGIN}", "Sec-Fetch-Site: cross-site"), 201),
        (("Origin: http://localhost",), 201),
        (("Origin: https://evil.example", "Sec-Fetch-Site: cross-site"), 403),
        (("Origin: https://evil.example",), 403),
        (("Origin: http://sibling.localhost", "Sec-Fetch-Site: same-site"), 403),
        (("Sec-Fetch-Site: same-site",), 403),
        (("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"), 403),
        ((), 403),
    ],
    ids=str,
)
def test_42_a_page_of_another_site_publishes_nothing_with_a_cookie(
    way: Way, fields: tuple[str, ...], status: int
) -> None:
    sent = cookie(WRITER)
    assert way.ask(publish(MESSAGE, sent, *fields)).status == status
    form = request("POST", "/rooms/chat/7", FORM, sent, *fields, body=b"text=x")
    assert way.ask(form).status == status
    # If the credential is in the header, only the origin matters: no page can send a header that it was not given.
    refused = 403 if any("evil" in field or "sibling" in field for field in fields) else 201
    assert way.ask(publish(MESSAGE, bearer(WRITER), *fields)).status == refused


def test_42_a_form_cannot_publish_json(way: Way) -> None:
    body = b'{"room":"chat/7","text":"x"}'
    answer = way.ask(request("POST", "/messages", "Content-Type: text/plain", cookie(WRITER), OWN, body=body))
    assert answer.status == 415


def test_a_cookie_is_refused_before_the_body_is_read(way: Way) -> None:
    head = request("POST", "/messages", JSON, cookie("x"), OWN, "Content-Length: 1000000")
    assert way.ask(head).status == 401


@pytest.mark.parametrize("target", ["/", "/roomcast.js", "/healthz", "/readyz", "/openapi.json"])
def test_a_route_that_needs_no_right_checks_no_cookie(way: Way, target: str) -> None:
    for fields in ((cookie("x"), OWN), (cookie("x", f"{COOKIE}=y"), "Sec-Fetch-Site: cross-site")):
        assert way.ask(get(target, *fields)).status == 200


def test_a_cookie_reads_no_metrics(way: Way) -> None:
    assert way.ask(get("/metrics", cookie(ALL), OWN)).status == 401
    assert way.ask(get("/metrics", bearer(ALL))).status == 200


def test_a_cookie_has_the_rights_of_its_credential(way: Way) -> None:
    me = way.ask(get("/me", cookie(NARROW), OWN)).json
    assert (me["name"], me["kind"]) == ("narrow", "key")
    stored = way.ask(publish(MESSAGE, cookie(NARROW), OWN)).json
    assert stored["user"] == "user-42"
    assert way.ask(get(f"/messages/{stored['id']}", cookie(ALL), OWN)).status == 200
    wanted = publish({"rooms": ["user/42"]}, cookie(NARROW), OWN, target="/tickets")
    assert way.ask(wanted).status == 201


def test_only_a_named_origin_may_send_a_cookie_from_elsewhere_and_read_the_answer(way: Way) -> None:
    for target, status in (("/me", 200), ("/messages?room=user/43", 403), ("/messages/x", 404)):
        answer = way.ask(get(target, PAGE, cookie(NARROW), f"Origin: {ORIGIN}", "Sec-Fetch-Site: cross-site"))
        assert answer.status == status
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "Origin" in answer.headers["vary"]
    other = way.ask(get("/me", cookie(NARROW), "Origin: https://evil.example"))
    assert other.status == 403
    assert "access-control-allow-credentials" not in other.headers


class Sent(NamedTuple):
    """One of many requests with the same head and different cookies."""

    credential: str
    status: int


def test_each_request_is_judged_by_its_own_cookie_however_alike_the_heads_are(way: Way) -> None:
    crowd = [Sent(ticket("user/42"), 200), Sent(ticket("user/43"), 403), Sent("x", 401), Sent(NARROW, 200)]
    for sent in crowd * 4:
        answer = way.ask(get("/messages?room=user/42", PAGE, cookie(sent.credential), OWN))
        assert answer.status == sent.status
    assert way.ask(get("/messages?room=user/42", PAGE, OWN)).status == 401


def test_a_ticket_that_expires_meanwhile_is_refused_from_then_on(way: Way) -> None:
    short = ticket("user/42", age=1, seconds=-28)  # with the leeway, one second more
    data = get("/messages?room=user/42", PAGE, cookie(short), OWN)
    assert way.ask(data).status == 200
    deadline = time.monotonic() + 5
    while way.ask(data).status != 401:
        assert time.monotonic() < deadline
