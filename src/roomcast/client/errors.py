"""The client's own errors, in addition to the server's (`roomcast.model.errors`), and the error that an answer
means.

An answer that explains itself (RFC 9457) with a problem type of `_KINDS`, or `too-many`, is raised as the class of
that type: `client.publish(...)` raises the same errors as `await live.publish(...)` in the server's process.
"""

from __future__ import annotations

import re
import ssl
from typing import Any

import httpx
import msgspec

from roomcast.model import errors
from roomcast.model.errors import Fault, RoomcastError
from roomcast.model.shapes import PROBLEM_TYPE

MAX_EXPLANATION = 64 * 1024
"""Maximum number of bytes read of an error's answer."""
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
"""The errors of different versions of OpenSSL for an answer in plain HTTP."""
_KINDS: dict[str, type[RoomcastError]] = {
    kind.kind: kind
    for kind in (
        errors.BadCredential,
        errors.Forbidden,
        errors.Gone,
        errors.HeadTooLarge,
        errors.Invalid,
        errors.KeyReused,
        errors.LogUnavailable,
        errors.Malformed,
        errors.NotAcceptable,
        errors.NotFound,
        errors.NotHttp,
        errors.NotOffered,
        errors.NotServed,
        errors.Overloaded,
        errors.RightsUnavailable,
        errors.RoomcastError,
        errors.TimedOut,
        errors.TooLarge,
        errors.TooManyRevocations,
        errors.Unauthenticated,
        errors.UnknownCoding,
        errors.UnsupportedMediaType,
    )
}
"""All that the server answers, but for two. `TooMany` needs its seconds. `MethodNotAllowed` becomes `Refused`: the
client uses the right methods, so its URL is wrong."""


class Unreachable(RoomcastError):
    """The server cannot be reached."""

    kind = "unreachable"


class Refused(RoomcastError):
    """The answer is not one that the client can use, and another attempt would not help."""

    kind = "refused"

    def __init__(self, detail: str, answered: int = 0) -> None:
        """`answered`: the answer's status."""
        super().__init__(detail)
        self.answered = answered
        """The answer's status; 0 if it is not known."""


class TooMuch(Refused):
    """The answer is longer than `max_answer`."""

    kind = "too-much"


class Closed(RuntimeError):
    """The client was closed, before the call or during it."""

    def __init__(self) -> None:
        super().__init__("the client is closed: make a new one")


class TryAgain(Exception):  # stays inside the client, where it becomes a pause
    """Another attempt may have a better answer."""

    def __init__(self, error: RoomcastError, seconds: float) -> None:
        super().__init__(str(error))
        self.error = error
        self.seconds = seconds
        """The server's `Retry-After`; 0 without one."""


class CredentialRejected(TryAgain):
    """The server rejected the credential; a fresh one may be tried at once."""

    def __init__(self, error: RoomcastError) -> None:
        super().__init__(error, 0.0)


def refusal(response: httpx.Response, body: bytes) -> RoomcastError:
    """The error that `response` and its `body` mean: of a class of `roomcast.model.errors` if the answer explains
    itself, else `Refused`."""
    problem = _problem(response, body)
    name = str(problem.get("type")).removeprefix(PROBLEM_TYPE)
    kind = _KINDS.get(name)
    detail = problem.get("detail")
    if name == errors.TooMany.kind and isinstance(detail, str):
        return errors.TooMany(detail, round(retry_after(response)))
    if kind and isinstance(detail, str):
        return kind(detail, [*_faults(problem.get("errors"))])
    explanation = f": {detail}" if isinstance(detail, str) else ""
    content = content_type(response) or "no content type"
    answered = f"{response.status_code} {response.reason_phrase} ({content})"
    url = without_password(response.request.url)
    return Refused(f"{url} answered {answered}{explanation}; check the URL", response.status_code)


def without_password(url: str | httpx.URL) -> str:
    """Returns `url` without user and password, for messages and logs."""
    return re.sub("(?<=://)[^/?#]*@", "", str(url))


def bad_tls(error: BaseException | None) -> str | None:
    """The reason why TLS with a server always fails, and what helps; None if `error` and its causes are of another
    kind."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message} (set SSL_CERT_FILE to the file of its CA)"
    if error is not None and error.reason in _NO_TLS:
        return "it speaks no TLS on this port: write http:// instead of https://"
    return None


def content_type(response: httpx.Response) -> str:
    """The media type of `response` in lower case, without its parameters; empty if it has none."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def retry_after(response: httpx.Response) -> float:
    """The seconds of the `Retry-After` of `response`; 0 if it is missing or a date."""
    text = str(response.headers.get("retry-after", "")).strip()
    return float(text[:9]) if text.isascii() and text.isdecimal() else 0.0


def _problem(response: httpx.Response, body: bytes) -> dict[str, Any]:
    if content_type(response) == "application/problem+json":
        try:
            found = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return {}
        if isinstance(found, dict):
            return found
    return {}


def _faults(listed: Any) -> list[Fault]:
    try:
        return [Fault(str(one["pointer"]), str(one["detail"])) for one in listed]
    except (KeyError, TypeError):
        return []
