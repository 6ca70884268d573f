"""The cases of the specification that need no token, cookie or reload, by their numbers, over each entry point."""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

import pytest

from tests.rights.serving import (
    ALL,
    FORMATS,
    FOUR,
    NARROW,
    NDJSON,
    PAGE,
    READER,
    SSE,
    WRITER,
    Way,
    bearer,
    get,
    publish,
    request,
    ticket,
)

STRANGER = ()
_BASIC = base64.b64encode(f"anybody:{ALL}".encode()).decode()
NO_RIGHT = 'Bearer realm="roomcast", error="insufficient_scope"'
UNASKED, BAD = 'Bearer realm="roomcast"', 'Bearer realm="roomcast", error="invalid_token"'
UNREADABLE = 'Bearer realm="roomcast", error="invalid_request"'


class Case(NamedTuple):
    """Requests by all kinds of clients, and their outcomes."""

    number: str
    target: str
    fields: tuple[str, ...]
    status: int
    challenge: str | None = None
    named: tuple[str, ...] = ()
    """The details of the errors."""


def reads() -> tuple[Case, ...]:
    """Made when a test runs, because tickets expire."""
    return (
        Case("1 nothing sent", "/messages?room=user/42", (), 401, UNASKED, ("user/42",)),
        Case("2 a room of everybody", "/messages?room=public/a", (), 200),
        Case("3 one of two", "/messages?room=public/a&room=user/42", (), 401, UNASKED, ("user/42",)),
        Case(
            "3 written so that it hides",
            "/messages?room=public/a&%72oom=user%2F42",
            (),
            401,
            UNASKED,
            ("user/42",),
        ),
        Case(
            "4 own and another's",
            "/messages?room=user/42&room=user/43",
            (bearer(NARROW),),
            403,
            NO_RIGHT,
            ("user/43",),
        ),
        Case("4 own", "/messages?room=user/42&room=team/7/a", (bearer(NARROW),), 200),
        Case(
            "4 the name of a prefix itself", "/messages?room=team/7", (bearer(NARROW),), 403, NO_RIGHT, ("team/7",)
        ),
        Case(
            "4 strangers' is not all's", "/messages?room=public/a", (bearer(NARROW),), 403, NO_RIGHT, ("public/a",)
        ),
        Case("4 other case", "/messages?room=User/42", (bearer(NARROW),), 403, NO_RIGHT, ("User/42",)),
        Case("4 a zero width space", "/messages?room=user/4%E2%80%8B2", (bearer(NARROW),), 403, NO_RIGHT),
        Case("5 an ended ticket", "/messages?room=public/a", (bearer(ticket("public/a", age=4000)),), 401, BAD),
        Case("5 an unknown key", "/messages?room=public/a", (bearer("rck_all_" + "x" * 43),), 401, BAD),
        Case("5 nonsense", "/messages?room=public/a", (bearer("x"),), 401, BAD),
        Case("5 a token", "/messages?room=public/a", (bearer("eyJhbGciOiJub25lIn0.e30."),), 401, BAD),
        Case("24 a prefix without a slash", "/messages?room=user/42", (bearer(FOUR),), 200),
        Case("publishing is not reading", "/messages?room=user/42", (bearer(WRITER),), 403, NO_RIGHT),
        Case("with Basic", "/messages?room=user/42", (f"Authorization: Basic {_BASIC}",), 200),
        Case("with bEARER", "/messages?room=user/42", (f"authorization:  bEARER   {ALL}\t ",), 200),
        Case("another scheme", "/messages?room=public/a", ("Authorization: Negotiate abc",), 400, UNREADABLE),
        Case("no scheme", "/messages?room=public/a", (f"Authorization: {ALL}",), 400, UNREADABLE),
        Case("no credential", "/messages?room=public/a", ("Authorization: Bearer",), 400, UNREADABLE),
        Case("an empty field", "/messages?room=public/a", ("Authorization:",), 400, UNREADABLE),
        Case("a tab between", "/messages?room=public/a", (f"Authorization: Bearer\t{ALL}",), 400, UNREADABLE),
        Case("two words", "/messages?room=public/a", (bearer(f"{ALL} {ALL}"),), 400, UNREADABLE),
        Case("given twice", "/messages?room=public/a", (bearer(ALL), bearer(ALL)), 400, UNREADABLE),
        Case(
            "Basic without a password", "/messages?room=public/a", ("Authorization: Basic eA==",), 400, UNREADABLE
        ),
        Case("Basic that is no base64", "/messages?room=public/a", ("Authorization: Basic e",), 400, UNREADABLE),
        Case("8 KiB of it", "/messages?room=public/a", (bearer("x" * 8192),), 400, UNREADABLE),
        Case("36 a ticket at 59 s", f"/messages?room=user/42&ticket={ticket('user/42', age=59)}", (), 200),
        Case("36 at 91 s", f"/messages?room=user/42&ticket={ticket('user/42', age=91)}", (), 401, BAD),
        Case(
            "37 with an id in the query",
            f"/messages?room=user/42&last_event_id=a-1&ticket={ticket('user/42', age=91)}",
            (),
            401,
            BAD,
        ),
        Case(
            "37 in a polyfill's",
            f"/messages?room=user/42&lastEventId=a-1&ticket={ticket('user/42', age=91)}",
            (),
            401,
            BAD,
        ),
        Case(
            "37 with the header",
            f"/messages?ticket={ticket('user/42', age=91)}&room=user/42",
            ("Last-Event-ID: a-1",),
            200,
        ),
        Case(
            "37 that is empty",
            f"/messages?ticket={ticket('user/42', age=91)}&room=user/42",
            ("Last-Event-ID:",),
            401,
            BAD,
        ),
        Case(
            "37 after its end",
            f"/messages?room=user/42&ticket={ticket('user/42', age=3631)}",
            ("Last-Event-ID: a-1",),
            401,
            BAD,
        ),
        Case(
            "39 other rooms", f"/messages?room=user/43&ticket={ticket('user/42')}", (), 403, NO_RIGHT, ("user/43",)
        ),
        Case(
            "39 more rooms",
            f"/messages?room=user/42&room=public/a&ticket={ticket('user/42')}",
            (),
            403,
            NO_RIGHT,
            ("public/a",),
        ),
        Case("39 fewer rooms", f"/messages?room=user/42&ticket={ticket('user/42', 'user/43')}", (), 200),
        Case("39 below a prefix", f"/messages?room=team/7/a&ticket={ticket(prefixes=['team/7/'])}", (), 200),
        Case("39 a bit flipped", f"/messages?room=user/42&ticket={ticket('user/42')[:-1]}", (), 401, BAD),
        Case("39 a ticket with more behind", f"/messages?room=user/42&ticket={ticket('user/42')}A", (), 401, BAD),
        Case("39 = as padding", f"/messages?room=user/42&ticket={ticket('user/42')}%3D", (), 401, BAD),
        Case(
            "39 percent-encoded", f"/messages?room=user/42&ticket={ticket('user/42').replace('_', '%5F')}", (), 200
        ),
        Case("a key as a ticket", f"/messages?room=public/a&ticket={ALL}", (), 401, BAD),
        Case("an empty ticket", "/messages?room=public/a&ticket=", (), 401, BAD),
        Case("a ticket without =", "/messages?room=public/a&ticket", (), 422),
        Case(
            "two tickets",
            f"/messages?room=user/42&ticket={ticket('user/42')}&ticket={ticket('user/42')}",
            (),
            401,
            BAD,
        ),
        Case("a ticket beside a good header", "/messages?room=user/42&ticket=x", (bearer(ALL),), 200),
        Case(
            "a ticket beside a bad header",
            f"/messages?room=user/42&ticket={ticket('user/42')}",
            (bearer("x"),),
            401,
            BAD,
        ),
        Case("a ticket in the hidden name", f"/messages?room=public/a&%74icket={ticket('public/a')}", (), 422),
        Case(
            "a ticket and a hidden one", f"/messages?room=public/a&ticket={ticket('public/a')}&ticke%74=x", (), 422
        ),
        Case("a ticket in capitals", f"/messages?room=public/a&Ticket={ticket('public/a')}", (), 422),
        Case("a ticket's near miss", f"/messages?room=public/a&tickets={ticket('public/a')}", (), 422),
        Case("8 KiB of a ticket", f"/messages?room=public/a&ticket={'x' * 8193}", (), 400, UNREADABLE),
        *(
            Case(f"{name} in the query", f"/messages?room=public/a&{name}=x", (bearer(ALL),), 422)
            for name in ("token", "access_token", "Authorization", "auth", "JWT", "key", "t%6Fken")
        ),
    )


READS = [case.number for case in reads()]


@pytest.mark.parametrize("accept", FORMATS)
@pytest.mark.parametrize("number", range(len(READS)), ids=READS)
def test_a_follow_is_served_whole_or_refused_with_the_reason(way: Way, number: int, accept: str) -> None:
    case = reads()[number]
    answer = way.ask(get(case.target, accept, *case.fields))
    expected = case.status
    if (
        accept == PAGE
        and case.status in (200, 403)
        and "ticket=" in case.target
        and bearer(ALL) not in case.fields
    ):
        expected = 422 if case.status == 200 else case.status  # a page's ticket is sent as a bearer
    assert answer.status == expected, answer.body
    if expected == 200:
        assert answer.headers["content-type"].startswith(accept.partition(" ")[2])
        return
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    if case.status == expected:
        assert answer.headers.get("www-authenticate") == case.challenge
    problem = answer.json
    assert problem["status"] == expected
    for room in case.named:
        assert room in problem["errors"][0]["detail"]
    assert len(problem["errors"]) <= 1 or expected == 422
    for sent in (*case.fields, case.target):
        for piece in _credentials(sent):
            assert piece not in answer.body.decode(), "a credential is answered"


def _credentials(sent: str) -> list[str]:
    return [
        word for word in sent.replace("=", " ").replace("&", " ").split() if word.startswith(("rck_", "rct1_"))
    ]


@pytest.mark.parametrize("accept", FORMATS)
@pytest.mark.parametrize("number", range(len(READS)), ids=READS)
def test_head_gives_the_outcome_that_a_follow_would_have(way: Way, number: int, accept: str) -> None:
    case = reads()[number]
    told = way.ask(request("HEAD", case.target, accept, *case.fields))
    real = way.ask(get(case.target, accept, *case.fields))
    assert (told.status, told.headers.get("www-authenticate")) == (
        real.status,
        real.headers.get("www-authenticate"),
    )


@pytest.mark.parametrize(
    ("detail", "credential"),
    [
        ("not valid", "x"),
        ("not valid", "rck_all_" + "x" * 43),
        ("not valid", ticket("user/42")[:-1]),
        ("ticket-expired", ticket("user/42", age=4000)),
    ],
)
def test_the_holder_is_told_only_what_has_expired(way: Way, detail: str, credential: str) -> None:
    answer = way.ask(get("/messages?room=user/42", bearer(credential)))
    assert (answer.status, answer.json["detail"]) == (401, detail)
    assert answer.json["type"] == "urn:problem-type:roomcast:unauthenticated"


# Publishing


def _rooms_in_log(way: Way, room: str) -> list[dict[str, Any]]:
    answer = way.ask(get(f"/messages?room={room}&replay=all", PAGE, bearer(ALL)))
    assert answer.status == 200
    messages: list[dict[str, Any]] = answer.json["messages"]
    return messages


def _newest(way: Way) -> str:
    position: str = way.ask(get("/readyz")).json["position"]
    return position


PUBLISHED = (
    ("a stranger in a room of theirs", (), {"room": "inbox/a", "text": "x"}, 201, "anonymous"),
    ("26 a stranger under a name", (), {"room": "inbox/a", "text": "x", "user": "admin"}, 403, None),
    ("a stranger as nobody", (), {"room": "inbox/a", "text": "x", "user": "anonymous"}, 201, "anonymous"),
    ("a stranger elsewhere", (), {"room": "user/42", "text": "x"}, 401, None),
    ("a reader", (bearer(READER),), {"room": "user/42", "text": "x"}, 403, None),
    ("own room", (bearer(NARROW),), {"room": "chat/7", "text": "x"}, 201, "user-42"),
    ("own room and name", (bearer(NARROW),), {"room": "chat/7", "text": "x", "user": "user-42"}, 201, "user-42"),
    ("26 another's name", (bearer(NARROW),), {"room": "chat/7", "text": "x", "user": "admin"}, 403, None),
    ("another's room", (bearer(NARROW),), {"room": "chat/8", "text": "x"}, 403, None),
    ("any name", (bearer(ALL),), {"room": "chat/7", "text": "x", "user": "admin"}, 201, "admin"),
    ("no name", (bearer(ALL),), {"room": "chat/7", "text": "x"}, 201, "anonymous"),
    ("a look-alike", (bearer(ALL),), {"room": "user/4\u200b2", "text": "x"}, 422, None),
    (
        "a ticket",
        (bearer(ticket(publish=["chat/7"], sub="42", user="u")),),
        {"room": "chat/7", "text": "x"},
        201,
        "u",
    ),
    (
        "a ticket elsewhere",
        (bearer(ticket("chat/8", publish=["chat/7"], sub="42")),),
        {"room": "chat/8", "text": "x"},
        403,
        None,
    ),
    ("a ticket that reads", (bearer(ticket("chat/7")),), {"room": "chat/7", "text": "x"}, 403, None),
)


@pytest.mark.parametrize(
    ("what", "fields", "body", "status", "user"), PUBLISHED, ids=[row[0] for row in PUBLISHED]
)
@pytest.mark.parametrize("form", ["json", "ndjson", "batch", "chunked", "room", "room and user", "1.0", "expect"])
def test_a_message_has_the_user_who_published_it(
    way: Way, what: str, fields: tuple[str, ...], body: dict[str, str], status: int, user: str | None, form: str
) -> None:
    if way.name == "asgi" and form in ("1.0", "expect"):
        pytest.skip("somebody else's server reads these")
    before = _newest(way)
    answer = way.ask(_published(form, body, fields))
    assert answer.status == status, answer.body
    if status != 201:
        assert _newest(way) == before, "something was stored, or an id was used"
        expected = {401: UNASKED, 403: NO_RIGHT}.get(status)
        assert answer.headers.get("www-authenticate") == expected
        return
    stored = answer.json[0] if isinstance(answer.json, list) else answer.json
    assert stored["user"] == user


def _published(form: str, body: dict[str, str], fields: tuple[str, ...]) -> bytes:
    data = json.dumps(body).encode()
    match form:
        case "json":
            return publish(data, *fields)
        case "batch":
            return publish(b"[%b]" % data, *fields)
        case "ndjson":
            return request("POST", "/messages", "Content-Type: application/x-ndjson", *fields, body=data)
        case "chunked":
            head = request(
                "POST", "/messages", "Content-Type: application/json", "Transfer-Encoding: chunked", *fields
            )
            return head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
        case "1.0":
            return publish(data, *fields).replace(b"HTTP/1.1", b"HTTP/1.0")
        case "expect":
            # The answer to the body comes behind "100 Continue", which `Raw` takes for an answer: so it is sent
            # by a client that does not wait, and whose body is in the same segment.
            return publish(data, *fields)
    from urllib.parse import quote

    room = quote(body["room"])
    query = f"?user={quote(body['user'])}" if "user" in body else ""
    target = f"/rooms/{room}{query}"
    if form == "room":
        return request("POST", target, "Content-Type: text/plain", *fields, body=body["text"].encode())
    return request("POST", target, "Content-Type: application/json", *fields, body=b'"x"')


def test_27_nothing_of_a_batch_with_a_forbidden_room_is_stored(way: Way) -> None:
    before = _newest(way)
    batch = [{"room": "chat/7", "text": "x" * 100}] * 1000
    batch[500] = batch[900] = {"room": "chat/8", "text": "x"}
    answer = way.ask(publish(batch, bearer(NARROW)))
    assert answer.status == 403
    assert [fault["pointer"] for fault in answer.json["errors"]] == ["/500/room", "/900/room"]
    assert "chat/8" in answer.json["detail"]
    assert _newest(way) == before


def test_27_all_other_users_of_a_batch_are_named(way: Way) -> None:
    before = _newest(way)
    batch = [{"room": "chat/7", "text": "x"}, *[{"room": "chat/7", "text": "x", "user": "a"}] * 2]
    answer = way.ask(publish(batch, bearer(NARROW)))
    assert answer.status == 403
    assert [fault["pointer"] for fault in answer.json["errors"]] == ["/1/user", "/2/user"]
    assert _newest(way) == before


def test_28_each_principal_has_its_own_idempotency_keys(way: Way) -> None:
    body = {"room": "chat/7", "text": "x"}
    key = f"Idempotency-Key: {way.name}-28"
    sub = ticket(publish=["chat/7"], sub="42")
    same_sub, other_sub = ticket(publish=["chat/7"], sub="42", age=5), ticket(publish=["chat/7"], sub="43")
    nameless = [ticket("user/42", publish=["chat/7"]) for _ in range(2)]
    holders = [ALL, NARROW, sub, other_sub, *nameless]
    first = [way.ask(publish(body, key, bearer(holder))) for holder in holders]
    assert [answer.status for answer in first] == [201] * len(holders)
    assert len({answer.json["id"] for answer in first}) == len(holders)
    again = [way.ask(publish(body, key, bearer(holder))) for holder in (ALL, NARROW, same_sub)]
    assert [answer.status for answer in again] == [200] * 3
    assert [answer.json["id"] for answer in again] == [first[n].json["id"] for n in (0, 1, 2)]


def test_28_strangers_share_one_scope_that_is_theirs_alone(way: Way) -> None:
    body, key = {"room": "inbox/a", "text": "x"}, f"Idempotency-Key: {way.name}-28-strangers"
    first, second = (way.ask(publish(body, key)) for _ in range(2))
    assert (first.status, second.status) == (201, 200)
    assert way.ask(publish(body, key, bearer(ALL))).status == 201


def test_28_the_same_body_under_another_user_is_another_request(way: Way) -> None:
    body, key = {"room": "chat/7", "text": "x"}, f"Idempotency-Key: {way.name}-28-user"
    for user, status in (("a", 201), ("a", 200), ("b", 422)):
        holder = ticket(publish=["chat/7"], sub="42", user=user)
        assert way.ask(publish(body, key, bearer(holder))).status == status


def test_29_a_repeat_is_refused_after_the_right_was_lost(way: Way) -> None:
    body, key = {"room": "chat/7", "text": "x"}, f"Idempotency-Key: {way.name}-29"
    may, may_not = (ticket(publish=[room], sub="29") for room in ("chat/7", "chat/8"))
    assert way.ask(publish(body, key, bearer(may))).status == 201
    answer = way.ask(publish(body, key, bearer(may_not)))
    assert answer.status == 403
    assert b'"id"' not in answer.body


@pytest.mark.parametrize("target", ["/messages", "/rooms/chat/7", "/tickets"])
def test_401_comes_before_the_body(way: Way, target: str) -> None:
    """A stranger without the right to publish, and a client with a bad credential."""
    if way.name == "asgi":
        pytest.skip("somebody else's server reads the body before it closes")
    for fields in ((bearer("x"),), () if target == "/tickets" else (bearer(READER),)):
        head = request("POST", target, "Content-Type: application/json", "Content-Length: 1048576", *fields)
        assert way.ask(head).status in (401, 403), fields


# What is seen of rooms


@pytest.fixture(scope="module")
def _filled() -> dict[str, dict[str, str]]:
    return {}


@pytest.fixture
def ids(way: Way, _filled: dict[str, dict[str, str]]) -> dict[str, str]:
    """The id of a message in each of five rooms."""
    if way.name not in _filled:
        secrets = [f"{letter}/secret-{n}" for letter in "avz" for n in range(12)]
        rooms = ["a/secret", *secrets, "team/7/a", "team/7/b", "user/42", "user/43"]
        _filled[way.name] = {
            room: way.ask(publish({"room": room, "text": "x"}, bearer(ALL))).json["id"] for room in rooms
        }
    return _filled[way.name]


@pytest.mark.parametrize("sort", ["", "&sort=newest"])
@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_31_only_readable_rooms_are_listed(way: Way, ids: dict[str, str], sort: str, limit: int) -> None:
    found, target, pages = [], f"/rooms?limit={limit}{sort}", 0
    while target:
        with_link = way.ask_whole(get(target, bearer(NARROW), "Connection: close"))
        body, link = with_link
        found += [row["room"] for row in body["rooms"]]
        assert "secret" not in link
        assert "user/43" not in link.replace("%2F", "/")
        target = link.partition("<")[2].partition(">")[0]
        pages += 1
        assert pages < 50
    assert sorted(found) == ["team/7/a", "team/7/b", "user/42"]


def test_31_rooms_without_a_credential(way: Way, ids: dict[str, str]) -> None:
    answer, _ = way.ask_whole(get("/rooms", "Connection: close"))
    assert all(row["room"].startswith("public/") for row in answer["rooms"])
    assert way.ask(get("/rooms", bearer(WRITER))).status == 403


def test_an_unreadable_message_is_answered_like_one_that_never_existed(way: Way, ids: dict[str, str]) -> None:
    def told(id: str, *fields: str, method: str = "GET") -> tuple[int, bytes]:
        answer = way.ask(request(method, f"/messages/{id}", *fields))
        return answer.status, answer.body.replace(id.encode(), b"ID")

    epoch, _, _ = ids["user/42"].partition("-")
    for fields in ((), (bearer(NARROW),), (bearer(WRITER),), (bearer(ticket("user/42")),)):
        never = told(f"{epoch}-999999999", *fields)
        assert never[0] == 404
        assert told(ids["a/secret"], *fields) == never
        assert told(ids["a/secret"], *fields, method="HEAD")[0] == 404
    assert told(ids["user/42"], bearer(NARROW))[0] == 200
    assert told(ids["user/42"], bearer(ticket("user/42")))[0] == 200
    assert told(ids["user/42"], bearer("x"))[0] == 401
    assert told(f"{ids['user/42']}?ticket={ticket('user/42')}")[0] == 422


def test_a_refused_room_list_does_not_reveal_which_rooms_exist(way: Way, ids: dict[str, str]) -> None:
    for fields in ((), (bearer(NARROW),)):
        held = way.ask(get("/messages?room=a/secret,b", *fields))
        none = way.ask(get("/messages?room=a/nothing,b", *fields))
        assert held.status == none.status
        assert held.body == none.body.replace(b"nothing", b"secret")
    assert way.ask(get("/messages?room=a/secret,b", bearer(ALL))).status == 422


METRICS = (
    ((), 401),
    ((bearer(NARROW),), 403),
    ((bearer(ticket("user/42")),), 403),
    ((bearer(ALL),), 200),
    ((bearer("x"),), 401),
)


@pytest.mark.parametrize(("fields", "status"), METRICS)
def test_32_metrics_need_their_own_right(way: Way, fields: tuple[str, ...], status: int) -> None:
    assert way.ask(get("/metrics", *fields)).status == status


@pytest.mark.parametrize("target", ["/healthz", "/readyz", "/openapi.json", "/", "/page/page.css", "/roomcast.js"])
def test_routes_that_need_no_right_stay_open(way: Way, target: str) -> None:
    assert way.ask(get(target)).status == 200
    if target != "/readyz":
        assert way.ask(get(target, bearer("x"))).status == 200, "a credential was looked at"


def test_readyz_tells_a_stranger_nothing_about_the_log(way: Way) -> None:
    assert "detail" not in way.ask(get("/readyz")).json


def mes() -> tuple[tuple[tuple[str, ...], dict[str, object]], ...]:
    return (
        ((), {"kind": "anonymous", "name": "", "user": "anonymous", "read": ["public/*"], "publish": ["inbox/*"]}),
        (
            (bearer(NARROW),),
            {
                "kind": "key",
                "name": "narrow",
                "user": "user-42",
                "read": ["team/7/*", "user/42"],
                "publish": ["chat/7", "user/42"],
            },
        ),
        (
            (bearer(ALL),),
            {
                "kind": "key",
                "name": "all",
                "user": None,
                "read": ["*"],
                "publish": ["*"],
                "metrics": True,
                "admin": True,
            },
        ),
        (
            (bearer(ticket("a", sub="7", age=100)),),
            {"kind": "ticket", "name": "all/7", "user": "anonymous", "read": ["a"], "publish": []},
        ),
    )


@pytest.mark.parametrize("number", range(4))
def test_me_lists_the_rights_of_the_client(way: Way, number: int) -> None:
    fields, told = mes()[number]
    answer = way.ask(get("/me", *fields))
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    expires = answer.json["expires_in"]
    assert (expires is None) == (told["kind"] != "ticket")
    assert expires is None or 3500 < expires <= 3530
    assert answer.json == {"metrics": False, "admin": False} | told | {"expires_in": expires}


@pytest.mark.parametrize(
    "target", ["/messages", "/messages/x", "/rooms", "/rooms/a", "/me", "/tickets", "/metrics"]
)
def test_46_a_preflight_is_never_asked_for_a_credential(way: Way, target: str) -> None:
    fields = ("Origin: https://app.example", "Access-Control-Request-Method: POST")
    answer = way.ask(request("OPTIONS", target, *fields, "Access-Control-Request-Headers: authorization"))
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "authorization" in answer.headers["access-control-allow-headers"]


def test_a_stream_says_how_long_it_lasts(way: Way) -> None:
    for accept in (SSE, NDJSON):
        with way.open(get(f"/messages?room=user/42&ticket={ticket('user/42', seconds=870)}", accept)) as stream:
            stream.until(b'"expires_in":')
            assert 890 <= int(stream.until(b"}")[:-1]) <= 900
        with way.open(get("/messages?room=user/42", accept, bearer(ALL))) as stream:
            assert b"expires_in" not in stream.until(b'"replayed":') + stream.until(b"}")
