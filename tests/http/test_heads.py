"""Heads by their bytes: what is shared, what is a request's own, and what is left to h11."""

from __future__ import annotations

import pytest

from roomcast.api.answer import HeaderFields
from roomcast.api.request import TICKET, Head, PreparedHead
from roomcast.http.head_fields import MAX_FIELDS, cut_ticket
from roomcast.http.heads import END, Found, Heads
from tests.raw import post, request

HEAD = post(b"{}")[:-2]
FOLLOW = request("GET", "/messages?room=a")


class Counting:
    """Counts the heads that are read."""

    def __init__(self) -> None:
        self.read: list[Head] = []
        self.heads = Heads(self._prepare)

    def _prepare(self, head: Head) -> PreparedHead:
        self.read.append(head)
        return PreparedHead(head, None, None, None, HeaderFields(), "GET")

    def kept(self) -> str:
        """Everything that is cached of the sent heads, including the values of `find`."""
        known = self.heads
        return repr([known._whole, known._shared, known._lines, known._names, known._templates])


@pytest.fixture
def counting() -> Counting:
    return Counting()


def _with(*fields: str, head: bytes = HEAD) -> bytes:
    return head.replace(END, b"\r\n" + "\r\n".join(fields).encode("latin-1") + END)


def test_a_plain_head_is_understood_completely(counting: Counting) -> None:
    found = counting.heads.find(HEAD)
    assert found
    head = found[0].head
    assert (head.method, head.target, head.path, head.query) == ("POST", b"/messages", "/messages", b"")
    assert head.fields[b"content-type"] == b"application/json"
    assert (found[2], head.keep_alive) == (2, True)


def test_a_head_without_a_body_has_no_length(counting: Counting) -> None:
    found = counting.heads.find(FOLLOW)
    assert found
    assert (found[0].head.method, found[0].head.query, found[2]) == ("GET", b"room=a", 0)


@pytest.mark.parametrize("option", ["close", "Keep-Alive, Close"])
def test_a_connection_is_closed_if_the_client_says_so(counting: Counting, option: str) -> None:
    found = counting.heads.find(_with(f"Connection: {option}"))
    assert found
    assert not found[0].head.keep_alive


@pytest.mark.parametrize(
    "data",
    [
        HEAD.replace(b"HTTP/1.1", b"HTTP/1.0"),
        HEAD.replace(b"Host:", b"Hosts:"),
        HEAD.replace(b"POST", b"po st"),
        HEAD.replace(b"/messages", b"http://x/messages"),
        HEAD.replace(b"Content-Length: 2", b"Content-Length: two"),
        HEAD.replace(b"Content-Length: 2", b"Content-Length: 1000000000000"),
        HEAD[:-2],
        HEAD[:3],
        b"",
        b"\r\n\r\n",
    ],
)
def test_a_head_that_is_not_plain_is_left_to_h11(counting: Counting, data: bytes) -> None:
    assert counting.heads.find(data) is None


@pytest.mark.parametrize(
    "field",
    [
        "Host: b.example",
        "Content-Length: 2",
        "Accept: a\r\naccept: a",
        "Idempotency-Key: 1\r\nIdempotency-Key: 1",
        "Authorization: a\r\nAuthorization: b",
        "Expect: 100-continue",
        "Transfer-Encoding: chunked",
        "Connection: upgrade\r\nUpgrade: h2c",
        "no colon",
        "X-Folded: a\r\n b",
        "X-Control: \0",
        "X-Line: a\rb",
        "X-Line: a\nb",
        "Sp ace: a",
        ": a",
    ],
)
def test_an_ambiguous_field_is_left_to_h11(counting: Counting, field: str) -> None:
    assert counting.heads.find(_with(field)) is None
    assert counting.heads.find(_with(field)) is None


@pytest.mark.parametrize(
    "field",
    [
        "traceparent: 00-{n:032x}-01",
        "Cookie: a={n}",
        "Idempotency-Key:  {n} ",
        "Content-Length: {n}",
        "X-Request-Id: {n}",
    ],
)
def test_a_head_from_a_template_has_the_same_result_as_a_parsed_one(counting: Counting, field: str) -> None:
    head = HEAD.replace(b"Content-Length: 2\r\n", b"") if field.startswith("Content-Length") else HEAD
    by_themselves = [Counting().heads.find(_with(field.format(n=n), head=head)) for n in range(20)]
    found = [counting.heads.find(_with(field.format(n=n), head=head)) for n in range(20)]
    assert [one and one[1:] for one in found] == [one and one[1:] for one in by_themselves]
    assert len(counting.read) == 1


@pytest.mark.parametrize("value", ["a\r\nHost: b", "a\0", "a\nX: b", "a\r\n b", "a\r\nTransfer-Encoding: chunked"])
def test_a_value_with_a_line_end_is_not_accepted_as_a_value(counting: Counting, value: str) -> None:
    for n in range(3):
        assert counting.heads.find(_with(f"traceparent: {n}"))
    assert counting.heads.find(_with(f"traceparent: {value}")) is None


def test_only_the_name_of_a_varying_field_is_cached(counting: Counting) -> None:
    for n in range(3):
        assert counting.heads.find(_with(f"Authorization: Bearer s3cr3t{n}", "X-Request-Id: 7"))
    assert "s3cr3t" not in counting.kept()


def test_heads_that_differ_in_ignored_fields_are_parsed_once(counting: Counting) -> None:
    for n in range(1_000):
        found = counting.heads.find(
            _with(f"traceparent: 00-{n:032x}-{n:016x}-01", f"Cookie: a={n}", f"Idempotency-Key: {n}")
        )
        assert found
        assert found[1][b"idempotency-key"] == b"%d" % n
    assert len(counting.read) == 1


@pytest.mark.parametrize(
    ("field", "head"),
    [
        ("Authorization: Bearer s3cr3t", HEAD),
        ("Cookie: session=s3cr3t", FOLLOW),
        ("Proxy-Authorization: Basic s3cr3t", HEAD),
        ("X-Api-Key: s3cr3t", HEAD),
        ("X-Auth-Token: s3cr3t", HEAD),
        ("X: y", FOLLOW.replace(b"room=a", b"room=a&ticket=s3cr3t")),
        ("X: y", FOLLOW.replace(b"room=a", b"%74icket=s3cr3t&room=a")),
        ("X: y", FOLLOW.replace(b"room=a", b"access_token=s3cr3t&room=a")),
    ],
)
def test_no_credential_is_ever_cached(counting: Counting, field: str, head: bytes) -> None:
    for _ in range(3):
        assert counting.heads.find(_with(field, head=head))
    assert "s3cr3t" not in counting.kept()


def test_the_cache_of_heads_is_bounded(counting: Counting) -> None:
    for n in range(5_000):
        for _ in range(3):
            counting.heads.find(_with(f"X-{n}: {n}", head=FOLLOW.replace(b"room=a", b"room=%d" % n)))
    assert len(counting.kept()) < 2_000_000
    long = _with("X: " + "x" * 10_000)
    for _ in range(3):
        assert counting.heads.find(long)
    assert "x" * 10_000 not in counting.kept()


CUTS = (
    (b"/messages?room=a", b"/messages?room=a", None),
    (b"/messages?room=a&ticket=rct1_x", b"/messages?room=a", b"rct1_x"),
    (b"/messages?ticket=rct1_x", b"/messages?", b"rct1_x"),
    (b"/messages?ticket=rct1_x&room=a", b"/messages?room=a", b"rct1_x"),
    (b"/messages?room=a&ticket=x&room=b", b"/messages?room=a&room=b", b"x"),
    (b"/messages?room=a&ticket=x%5F&ticket=y", b"/messages?room=a", b"x_, y"),
    (b"/messages?room=a&ticket=", b"/messages?room=a", b""),
    (b"/messages?room=a&ticket=x#y", b"/messages?room=a", b"x"),
    (b"/messages?room=a&myticket=x", b"/messages?room=a&myticket=x", None),
    (b"/messages?room=a;ticket=x", b"/messages?room=a;ticket=x", None),
    (b"/messages?room=ticket=x", b"/messages?room=ticket=x", None),
    (b"/messages?ticket=x&ticket=y&ticket=z", b"/messages?", b"x, y, z"),
    (b"/messages?room=a#&ticket=x", b"/messages?room=a#&ticket=x", None),
    (b"/rooms/a&ticket=x", b"/rooms/a&ticket=x", None),
    (b"/rooms/a&ticket=x?ticket=y", b"/rooms/a&ticket=x?", b"y"),
    (b"/rooms/ticket=?x&ticket=y", b"/rooms/ticket=?x", b"y"),
)


@pytest.mark.parametrize(("target", "rest", "ticket"), CUTS)
def test_only_a_ticket_in_the_query_is_cut_out(target: bytes, rest: bytes, ticket: bytes | None) -> None:
    assert cut_ticket(target) == (rest, ticket)


def test_the_cache_of_heads_for_h11_has_no_credential(counting: Counting) -> None:
    for secret in ("token=hunter2", "%74icket=hunter2", "ticket=hunter2"):
        head = request("GET", f"/messages?room=a&{secret}", "Expect: 100-continue")
        assert counting.heads.find(head) is None
        counting.heads.find(request("GET", f"/messages?room=a&{secret}", "X-Jwt-Assertion: hunter2"))
    assert "hunter2" not in counting.kept()


def test_a_head_with_a_ticket_is_cached_without_the_ticket(counting: Counting) -> None:
    for n in range(5):
        found = counting.heads.find(request("GET", f"/messages?room=a&ticket=rct1_hunter{n}"))
        assert found
        prepared, values, _ = found
        assert values == {TICKET: f"rct1_hunter{n}".encode()}
        assert prepared.head.target == b"/messages?room=a"
    assert len(counting.read) == 1
    assert len(counting.heads._whole) == 1
    assert "hunter" not in counting.kept()
    for wrong in (b"GET /?ticket=hunter2\r\nA: HTTP/1.1\r\n\r\n", b"ticket=hunter2?ticket=hunter2"):
        assert counting.heads.find(wrong) is None
    assert "hunter" not in counting.kept()


def test_a_browsers_head_with_a_cookie_is_parsed_a_few_times_only(
    counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_apart: list[bytes] = []
    take_apart = counting.heads._read

    def noted(data: bytes) -> Found | None:
        taken_apart.append(data)
        return take_apart(data)

    monkeypatch.setattr(counting.heads, "_read", noted)
    for number in range(10):
        browser = ("Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors", f"Cookie: a={number}")
        found = counting.heads.find(_with(*browser))
        assert found
        assert found[1][b"cookie"] == b"a=%d" % number
        assert found[1][b"sec-fetch-site"] == b"same-origin"
    assert len(taken_apart) == 2


def test_a_head_with_too_many_fields_is_left_to_h11_before_they_are_read(counting: Counting) -> None:
    fields = [f"X-{number}: 1" for number in range(MAX_FIELDS)]
    assert counting.heads.find(_with(*fields)) is None
    assert counting.heads._lines == {}
