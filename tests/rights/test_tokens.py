"""The cases of the specification that concern tokens, by their numbers, over each entry point."""

from __future__ import annotations

import time

import pytest

from tests.auth.signing import coded, pem
from tests.auth.signing import token as signed
from tests.raw import JSON
from tests.rights.serving import (
    AWAY,
    FORMATS,
    ISS,
    NDJSON,
    PAGE,
    SECRET,
    SSE,
    Way,
    bearer,
    get,
    own,
    publish,
    request,
    ticket,
    token,
    token_of,
)
from tests.rights.test_cases import BAD, NO_RIGHT, UNASKED, _newest

NOW = time.time()
"""For claims that are far from now."""


def bad() -> dict[str, str]:
    """Tokens that are refused, by the numbers of their cases; made when a test runs."""
    now = time.time()
    stated = {"iss": ISS, "aud": "roomcast", "sub": "42", "exp": now + 900}
    unsigned = coded({"sub": "42", "exp": now + 900, "roomcast": {"read": ["*"]}})
    return {
        "5 expired": own("public/a", exp=now - 40),
        "6 none": f"{coded({'alg': 'none'})}.{unsigned}.",
        "6 nOnE": f"{coded({'alg': 'nOnE'})}.{unsigned}.",
        "7 the public key as a secret": signed(stated, "HS256", pem("ES256", "server")),
        "8 a key in the header": signed(stated, "ES256", name="evil", jku="http://127.0.0.1:1/", kid="1"),
        "9 crit": signed({"sub": "42", "exp": now + 900}, key=SECRET.encode(), crit=["x"]),
        "9 b64": signed({"sub": "42", "exp": now + 900}, key=SECRET.encode(), b64=False),
        "10 another issuer": token_of("https://other.example"),
        "10 the secret for an issuer": signed(stated, key=SECRET.encode()),
        "14 no exp": signed({"sub": "42"}, key=SECRET.encode()),
        "14 text": own("public/a", exp=str(now + 900)),
        "14 true": own("public/a", exp=True),
        "14 31 days ahead": own("public/a", exp=now + 31 * 86_400),
        "14 good for 40 days": own("public/a", iat=now - 20 * 86_400, exp=now + 20 * 86_400),
        "15 40 s ago": own("public/a", exp=now - 40),
        "16 nbf": own("public/a", nbf=now + 45),
        "16 iat": own("public/a", iat=now + 45),
        "17 another aud": token_of(ISS, aud=["app"]),
        "17 no aud": signed({name: stated[name] for name in ("iss", "sub", "exp")}, "ES256", name="server"),
        "19 text": token(roomcast={"read": "public/a"}),
        "19 a number": token(roomcast={"read": 1}),
        "19 1,001 grants": own(*["a"] * 1001),
        "19 a control character": own("a\u0007"),
        "22 sub that is a number": token(sub=42),
        "22 sub of 129 characters": token(sub="x" * 129),
    }


@pytest.mark.parametrize("name", bad())
def test_a_bad_token_is_refused_in_public_rooms_too(way: Way, name: str) -> None:
    text = bad()[name]
    detail = "expired" if name in ("5 expired", "15 40 s ago") else "not valid"
    for accept in FORMATS:
        answer = way.ask(get("/messages?room=public/a", accept, bearer(text)))
        assert (answer.status, answer.headers["www-authenticate"]) == (401, BAD)
        assert answer.json["detail"] == detail
    assert way.ask(request("HEAD", "/messages?room=public/a", SSE, bearer(text))).status == 401
    assert way.ask(publish({"room": "inbox/a", "text": "x"}, bearer(text))).status == 401


def good() -> dict[str, tuple[str, str, int, str | None]]:
    """A token, a query, and the outcome."""
    now = time.time()
    return {
        "4 own": (own("user/42", "team/7/*"), "room=user/42&room=team/7/a", 200, None),
        "4 own and another's": (own("user/42"), "room=user/42&room=user/43", 403, "user/43"),
        "4 a prefix": (own("team/7/*"), "prefix=team/7/", 200, None),
        "4 a wider prefix": (own("team/7/*"), "prefix=team/", 403, "team/*"),
        "4 by a template": (token_of(ISS), "room=user/42", 200, None),
        "4 of a list": (token_of(ISS, teams=["7", "8"]), "room=team/7/a&room=team/8/b&room=user/42", 200, None),
        "4 of no list": (token_of(ISS, teams="7"), "room=team/7/a", 200, None),
        "4 another's by a template": (token_of(ISS, teams=["7"]), "room=team/70/a", 403, "team/70/a"),
        "4 by a claim beside templates": (token_of(ISS, roomcast={"read": ["news"]}), "room=news", 200, None),
        "15 20 s ago": (own("user/42", exp=now - 15), "room=user/42", 200, None),
        "17 a list": (token_of(ISS, aud=["a", "roomcast"]), "room=user/42", 200, None),
        "22 a sub with a slash": (
            token_of(ISS, sub="42/admin", teams="7"),
            "room=user/42/admin",
            403,
            "user/42/admin",
        ),
        "22 a sub that is a star": (token_of(ISS, sub="*", teams="7"), "room=user/42", 403, "user/42"),
        "22 a sub in braces": (token_of(ISS, sub="{sub}", teams="7"), "room=user/{sub}", 403, "user/{sub}"),
        "22 a sub with what nobody sees": (
            token_of(ISS, sub="4\u200b2", teams="7"),
            "room=user/4%E2%80%8B2",
            403,
            "user/4\u200b2",
        ),
        "22 braces in a token are letters": (own("user/{sub}"), "room=user/{sub}", 200, None),
        "22 and no claim": (own("user/{sub}"), "room=user/42", 403, "user/42"),
        "24 a prefix without a slash": (own("user/4*"), "room=user/42", 200, None),
    }


@pytest.mark.parametrize("name", good())
def test_a_token_reads_what_it_grants(way: Way, name: str) -> None:
    text, query, status, named = good()[name]
    for accept in FORMATS:
        answer = way.ask(get(f"/messages?{query}", accept, bearer(text)), to_head=status == 200)
        assert answer.status == status, answer.body
        if named is not None:
            assert answer.headers["www-authenticate"] == NO_RIGHT
            assert named in answer.json["errors"][0]["detail"]


def published() -> dict[str, tuple[str, dict[str, str], int, str | None]]:
    """A token, a message, and the user that is stored with it."""
    return {
        "26 the sub": (own(publish=["chat/7"]), {"room": "chat/7"}, 201, "42"),
        "26 the user": (own(publish=["chat/*"], user="user-42"), {"room": "chat/7"}, 201, "user-42"),
        "26 the same": (own(publish=["chat/7"], user="u"), {"room": "chat/7", "user": "u"}, 201, "u"),
        "26 another": (own(publish=["chat/7"]), {"room": "chat/7", "user": "admin"}, 403, None),
        "26 no right": (own("chat/7"), {"room": "chat/7"}, 403, None),
        "26 by a template": (token_of(ISS, teams=["7"]), {"room": "chat/7"}, 201, "42"),
    }


@pytest.mark.parametrize("name", published())
def test_26_a_message_has_the_user_of_the_token(way: Way, name: str) -> None:
    text, body, status, user = published()[name]
    before = _newest(way)
    answer = way.ask(publish({"text": "x", **body}, bearer(text)))
    assert answer.status == status, answer.body
    if user is None:
        assert _newest(way) == before
        assert "user" not in body or answer.json["errors"][0]["pointer"] == "/user"
    else:
        assert answer.json["user"] == user


def test_13_a_token_whose_key_cannot_be_fetched_is_told_to_retry(way: Way) -> None:
    text = token_of(AWAY)
    for accept in (SSE, NDJSON):
        answer = way.ask(get("/messages?room=user/42", accept, bearer(text)))
        assert answer.status == 200
        assert b"retry" in answer.body
    assert way.ask(get("/messages?room=user/42", PAGE, bearer(text))).status == 503
    answer = way.ask(publish({"room": "chat/7", "text": "x"}, bearer(text)))
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "jwks" not in answer.body.decode()
    # Its claims change nothing: nobody has verified them.
    expired = way.ask(get("/messages?room=user/42", SSE, bearer(token_of(AWAY, exp=NOW - 4000))))
    assert (expired.status, b"retry" in expired.body) == (200, True)
    assert way.ask(get("/messages?room=user/42", SSE, bearer(own("user/42"))), to_head=True).status == 200


def test_28_a_token_and_its_ticket_have_one_scope(way: Way) -> None:
    body, key = {"room": "chat/7", "text": "x"}, f"Idempotency-Key: {way.name}-28-token"
    mine, again, other = own(publish=["chat/7"]), own("a", publish=["chat/7"]), own(publish=["chat/7"], sub="43")
    first = way.ask(publish(body, key, bearer(mine)))
    assert first.status == 201
    assert way.ask(publish(body, key, bearer(other))).status == 201
    issued = way.ask(request("POST", "/tickets", JSON, bearer(again), body=b'{"publish": ["chat/7"]}'))
    assert issued.status == 201, issued.body
    for credential in (again, issued.json["ticket"]):
        repeated = way.ask(publish(body, key, bearer(credential)))
        assert (repeated.status, repeated.json["id"]) == (200, first.json["id"])
    by_key = ticket(publish=["chat/7"], sub="42", user="42")
    assert way.ask(publish(body, key, bearer(by_key))).status == 201
    lost = own(publish=["chat/8"])
    assert way.ask(publish(body, key, bearer(lost))).status == 403  # 29


def test_a_token_gives_tickets_for_itself_that_do_not_outlive_it(way: Way) -> None:
    def issue(credential: str, body: bytes) -> tuple[int, dict[str, object]]:
        answer = way.ask(request("POST", "/tickets", JSON, bearer(credential), body=body))
        return answer.status, answer.json

    short = token_of(ISS, exp=time.time() + 300)
    status, told = issue(short, b'{"rooms": ["user/42"], "seconds": 3600}')
    assert status == 201
    assert 290 <= int(str(told["ends_in"])) <= 300
    me = way.ask(get("/me", bearer(str(told["ticket"])))).json
    assert (me["kind"], me["name"], me["user"]) == ("ticket", f"{ISS}/42", "42")
    assert me["expires_in"] <= way.ask(get("/me", bearer(short))).json["expires_in"]
    assert issue(short, b'{"rooms": ["user/42"], "sub": "42"}')[0] == 201
    status, told = issue(short, b'{"rooms": ["user/42"], "sub": "43"}')
    assert (status, told["errors"][0]["pointer"]) == (403, "/sub")  # type: ignore[index]
    assert issue(short, b'{"rooms": ["user/42"], "user": "admin"}')[0] == 403
    assert issue(short, b'{"rooms": ["user/43"]}')[0] == 403
    assert issue(own("user/42", exp=time.time() - 5), b'{"rooms": ["user/42"]}')[0] == 401


def test_31_only_rooms_that_the_token_may_read_are_listed(way: Way) -> None:
    for room in ("chat/31", "chat/32"):
        assert way.ask(publish({"room": room, "text": "x"}, bearer(own(publish=["chat/*"])))).status == 201
    told, _ = way.ask_whole(get("/rooms", bearer(own("chat/31")), "Connection: close"))
    assert [row["room"] for row in told["rooms"]] == ["chat/31"]


def test_32_metrics_are_for_keys(way: Way) -> None:
    assert way.ask(get("/metrics", bearer(own("*", publish=["*"])))).status == 403


def test_me_lists_the_rights_of_a_token_and_when_it_expires(way: Way) -> None:
    told = way.ask(get("/me", bearer(own("user/42", publish=["chat/7"])))).json
    expires = told.pop("expires_in")
    assert 900 < expires <= 930
    rights = {"read": ["user/42"], "publish": ["chat/7"], "metrics": False, "admin": False}
    assert told == {"kind": "token", "name": "42", "user": "42", **rights}
    assert way.ask(get("/me", bearer(token_of(ISS)))).json["name"] == f"{ISS}/42"


@pytest.mark.parametrize("accept", [SSE, NDJSON])
def test_33_a_stream_ends_with_its_token_and_is_refused_afterwards(way: Way, accept: str) -> None:
    text = own("user/33", exp=time.time() - 30 + 2.5)  # within the leeway
    with way.open(get("/messages?room=user/33", accept, bearer(text))) as stream:
        told = stream.rest()
    assert b'"expires_in":' in told
    assert b'{"reason":"expired"}' in told.replace(b" ", b"")
    assert way.ask(get("/messages?room=user/33", accept, bearer(text))).status == 401


def test_41_no_log_or_answer_shows_a_byte_of_a_token(way: Way) -> None:
    text = own("user/42", sub="sub-41")
    in_url = [f"/messages?room=a&token={text}"] if way.name != "asgi" else []  # uvicorn logs what it is asked for
    for fields in ((bearer(text),), (bearer(text[:-4] + "AAAA"),)):
        for target in ("/messages?room=user/43", "/me", "/rooms?limit=1", *in_url):
            answer = way.ask(get(target, *fields, "Connection: close"), to_head=True)
            assert text.split(".")[1] not in answer.body.decode() + str(answer.headers)
    said = way.running.said()
    assert all(part not in said for part in text.split(".")[1:])
    assert "bad token: wrong signature (credential " in said
    assert "sub-41" in said


def test_a_request_without_a_credential_is_asked_for_one(way: Way) -> None:
    answer = way.ask(get("/messages?room=user/42", SSE))
    assert (answer.status, answer.headers["www-authenticate"]) == (401, UNASKED)


def test_the_banner_names_the_issuers(way: Way) -> None:
    if way.name != "asgi":
        assert f"tickets; tokens of {ISS}, {AWAY}, the secret" in way.running.said()
