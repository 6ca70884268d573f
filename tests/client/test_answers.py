"""The meaning of answers: errors, repeated attempts, and bounds, without any I/O."""

from __future__ import annotations

import ssl
from typing import Any

import httpx
import msgspec
import pytest

from roomcast.client import Refused, Unreachable, errors
from roomcast.client.attempts import Attempts, Reply
from roomcast.client.body import BoundedBody, check_encoding
from roomcast.client.http import HttpOptions, OutgoingRequest, check_location
from roomcast.model.errors import Invalid, KeyReused, RoomcastError, TooMany

PROBLEM = "application/problem+json"
CUT = httpx.ReadError("cut")


def answer(status: int, body: bytes = b"", **headers: str) -> httpx.Response:
    request = httpx.Request("GET", "http://host/x")
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=fields, content=body, request=request)


def refused(status: int, problem: dict[str, Any] | bytes, **headers: str) -> Exception:
    body = problem if isinstance(problem, bytes) else msgspec.json.encode(problem)
    return errors.refusal(answer(status, body, content_type=PROBLEM, **headers), body)


NEVER_ANSWERED = {"cannot-start", "bad-option", "log-unusable", "outcome-unknown", "log-restarted"}


def kinds(error: type[RoomcastError]) -> set[str]:
    """The kinds of this class and of all that inherit from it in `roomcast.model.errors`."""
    ours = [one for one in error.__subclasses__() if one.__module__ == error.__module__]
    return {error.kind}.union(*map(kinds, ours))


@pytest.mark.parametrize("kind", sorted(kinds(RoomcastError) - NEVER_ANSWERED - {"method-not-allowed"}))
def test_every_error_of_the_server_is_raised_as_its_own_class(kind: str) -> None:
    error = refused(400, {"type": f"urn:problem-type:roomcast:{kind}", "detail": "its words"})
    assert isinstance(error, RoomcastError)
    assert (error.kind, str(error)) == (kind, "its words")


def test_a_server_that_knows_the_path_but_not_the_method_is_at_another_url() -> None:
    error = refused(405, {"type": "urn:problem-type:roomcast:method-not-allowed", "detail": "use GET"})
    assert isinstance(error, Refused)
    assert "use GET; check the URL" in str(error)


def test_too_many_requests_name_the_seconds_to_wait() -> None:
    error = refused(429, {"type": "urn:problem-type:roomcast:too-many", "detail": "slower"}, retry_after="7")
    assert isinstance(error, TooMany)
    assert error.retry_after == 7


@pytest.mark.parametrize(
    "listed", [None, 7, ["x"], [{"pointer": "/a"}]], ids=["none", "a number", "a text", "no detail"]
)
def test_malformed_faults_are_left_out(listed: Any) -> None:
    error = refused(422, {"type": "urn:problem-type:roomcast:invalid", "detail": "x", "errors": listed})
    assert isinstance(error, Invalid)
    assert error.faults == ()


@pytest.mark.parametrize("body", [b"{", b'"\xff"', b"[" * 100_000, b"[]", b'{"type": 7, "detail": 7}'])
def test_a_malformed_problem_raises_refused(body: bytes) -> None:
    error = refused(422, body)
    assert isinstance(error, Refused)
    assert error.answered == 422


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://u:p@h/x@y", "http://h/x@y"),
        ("http://u:p@q@h", "http://h"),
        ("http://h?a=b@c", "http://h?a=b@c"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, text: str) -> None:
    assert errors.without_password(url) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), (" 7 ", 7), ("²", 0), ("٣", 0), ("-1", 0), ("soon", 0), ("9" * 5_000, 999_999_999)],
)
def test_retry_after_is_a_number_of_seconds(text: str, seconds: float) -> None:
    response = httpx.Response(503, headers=[(b"retry-after", text.encode())])
    assert errors.retry_after(response) == seconds


def test_a_tls_error_is_found_behind_others() -> None:
    untrusted = ssl.SSLCertVerificationError()
    untrusted.verify_message = "self-signed certificate"
    inner = OSError()
    inner.__context__ = untrusted
    outer = httpx.ConnectError("failed")
    outer.__cause__ = inner
    assert "not trusted: self-signed certificate (set SSL_CERT_FILE" in str(errors.bad_tls(outer))
    assert errors.bad_tls(httpx.ConnectError("refused")) is None


def test_an_answer_in_plain_http_is_a_tls_error_with_advice() -> None:
    plain = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")
    plain.reason = "WRONG_VERSION_NUMBER"
    failed = httpx.ConnectError("failed")
    failed.__cause__ = plain
    with pytest.raises(Unreachable, match="speaks no TLS on this port: write http:// instead of https://"):
        attempts().failed(failed)


def test_an_attempt_that_can_never_succeed_is_not_repeated() -> None:
    error = httpx.UnsupportedProtocol("gopher")
    with pytest.raises(httpx.UnsupportedProtocol) as raised:
        attempts().failed(error)
    assert raised.value is error


def attempts(patience: float = 1e9, method: str = "POST", max_answer: int | None = None) -> Attempts:
    return Attempts(OutgoingRequest(method, "http://host/x", max_answer=max_answer), patience, 1_000)


def answered(by: Attempts, status: int, body: bytes = b"") -> Reply | float:
    response = answer(status, body)
    read = BoundedBody(response, by.max_bytes(response))
    read.add(body)
    return by.answered(response, read)


def test_messages_are_known_only_if_no_answer_before_was_lost() -> None:
    assert answered(attempts(), 200) == Reply(b"", known=True)
    assert answered(attempts(), 201) == Reply(b"")
    again = attempts()
    again.failed(CUT)
    assert answered(again, 200) == Reply(b"")


def test_pauses_between_attempts_double_up_to_five_seconds() -> None:
    trying = attempts()
    pauses = [trying.failed(CUT) for _ in range(20)]
    assert 0.05 <= pauses[0] <= 0.1
    assert all(2.5 <= pause <= 5 for pause in pauses[6:])


def test_a_pause_that_outlasts_the_patience_is_not_begun() -> None:
    response = answer(503, retry_after="7")
    assert attempts(8.0).answered(response, BoundedBody(response, 0)) == 7
    with pytest.raises(Refused, match="503"):
        attempts(6.0).answered(response, BoundedBody(response, 0))


def test_a_message_that_is_gone_at_the_second_attempt_was_deleted_by_the_first() -> None:
    trying = attempts(method="DELETE")
    with pytest.raises(Refused, match="410"):
        answered(trying, 410)
    trying.failed(CUT)
    assert answered(trying, 410) == Reply(b"")


NOTHING_DONE: list[Any] = [429, 425, httpx.ConnectError("no"), httpx.ConnectTimeout("no"), httpx.PoolTimeout("no")]
MAYBE_DONE: list[Any] = [500, 502, 503, 504, httpx.ReadTimeout("no"), httpx.RemoteProtocolError("cut"), CUT]


def end_as(trying: Attempts, ending: Any) -> None:
    """An attempt ends with this status or error, and is repeated."""
    again = answered(trying, ending) if isinstance(ending, int) else trying.failed(ending)
    assert isinstance(again, float)


@pytest.mark.parametrize("ending", NOTHING_DONE, ids=repr)
def test_a_message_that_is_gone_after_an_attempt_that_did_nothing_was_not_deleted_by_it(ending: Any) -> None:
    trying = attempts(method="DELETE")
    end_as(trying, ending)
    with pytest.raises(Refused, match="410"):
        answered(trying, 410)


@pytest.mark.parametrize("ending", MAYBE_DONE, ids=repr)
def test_a_message_that_is_gone_after_an_attempt_of_unknown_outcome_counts_as_deleted(ending: Any) -> None:
    trying = attempts(method="DELETE")
    end_as(trying, ending)
    end_as(trying, 429)
    assert answered(trying, 410) == Reply(b"")


@pytest.mark.parametrize("ending", NOTHING_DONE, ids=repr)
def test_messages_are_known_after_an_attempt_that_stored_nothing(ending: Any) -> None:
    trying = attempts()
    end_as(trying, ending)
    assert answered(trying, 200) == Reply(b"", known=True)


def test_a_fresh_credential_is_tried_once_and_at_once() -> None:
    trying = Attempts(OutgoingRequest("POST", "http://host/x"), 1e9, 1_000, renews_credential=True)
    assert answered(trying, 401) == 0.0
    with pytest.raises(Refused, match="401"):
        answered(trying, 401)


def test_the_bound_of_a_request_goes_before_the_clients() -> None:
    assert attempts(max_answer=7).max_bytes(answer(200)) == 7
    assert attempts().max_bytes(answer(200)) == 1_000
    assert attempts().max_bytes(answer(404)) == errors.MAX_EXPLANATION


def test_a_reused_key_is_final() -> None:
    body = b'{"type": "urn:problem-type:roomcast:key-reused", "detail": "x"}'
    response = answer(422, body, content_type=PROBLEM)
    read = BoundedBody(response, 1_000)
    read.add(body)
    with pytest.raises(KeyReused):
        attempts().answered(response, read)


@pytest.mark.parametrize("location", ["/there", "there", "http://h:65535/", "//h/x", "?a=b"])
def test_a_redirect_may_lead_to_an_address_or_a_path(location: str) -> None:
    check_location(answer(302, location=location))


@pytest.mark.parametrize(
    "location", ["", "http://h:0/", "http://h:65536/", "http://", "mailto:a@b", "http://[::1"]
)
def test_a_redirect_to_no_address_is_refused(location: str) -> None:
    with pytest.raises(Refused, match="which is not an address: check the URL"):
        check_location(answer(302, location=location))


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_an_answer_may_name_the_encoding_identity(encoding: str) -> None:
    check_encoding(answer(200, content_encoding=encoding))


def test_the_callers_limit_of_connections_holds_for_streams() -> None:
    options = HttpOptions(httpx={"limits": httpx.Limits(max_connections=7)})
    limits = options.for_client(lambda response: None, for_streams=True)["limits"]
    assert (limits.max_connections, limits.max_keepalive_connections) == (7, 0)


@pytest.mark.parametrize(
    ("options", "proxy", "reads"),
    [
        ({}, None, True),
        ({}, "http://proxy", False),
        ({"trust_env": False}, None, False),
        ({"transport": httpx.HTTPTransport()}, None, False),
    ],
)
def test_the_environments_proxies_count_unless_the_caller_chooses(
    options: dict[str, Any], proxy: str | None, reads: bool
) -> None:
    assert HttpOptions(httpx=options).reads_environment(proxy) == reads
