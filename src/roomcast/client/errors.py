"""What the client raises beside the server's own errors (`roomcast.model.errors`), and how an answer becomes one.

An answer that explains itself (RFC 9457) with one of roomcast's problem types is raised as the class of that type:
what `await live.publish(...)` raises in the server's process, `client.publish(...)` raises as well.
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
"""Bytes of a refusal that are read."""
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
"""What different OpenSSLs say to an answer in plain HTTP."""
_KINDS: dict[str, type[RoomcastError]] = {
    kind.kind: kind
    for kind in (
        errors.Gone,
        errors.Invalid,
        errors.KeyReused,
        errors.LogUnavailable,
        errors.Malformed,
        errors.NotAcceptable,
        errors.NotFound,
        errors.TooLarge,
        errors.UnsupportedMediaType,
    )
}


class Unreachable(RoomcastError):
    """The server cannot be reached."""

    kind = "unreachable"


class Refused(RoomcastError):
    """The answer is not the one that was asked for, and asking again would not help."""

    kind = "refused"

    def __init__(self, detail: str, answered: int = 0) -> None:
        super().__init__(detail)
        self.answered = answered
        """The answer's status; 0 where there is none, as for a redirection that leads nowhere."""


class TooMuch(Refused):
    """The answer is longer than the client takes."""

    kind = "too-much"


class Closed(RuntimeError):
    """The client was closed, before or meanwhile."""

    def __init__(self) -> None:
        super().__init__("the client is closed")


class Busy(Exception):  # inside the client only: becomes a pause, or what it is caused by
    """Another attempt may have a better answer."""

    def __init__(self, error: RoomcastError, seconds: float) -> None:
        super().__init__(str(error))
        self.error = error
        self.seconds = seconds
        """The server's `Retry-After`; 0 where it names none."""


def refusal(response: httpx.Response, body: bytes) -> RoomcastError:
    """What an answer says that is not the one asked for."""
    problem = _problem(response, body)
    kind = _KINDS.get(str(problem.get("type")).removeprefix(PROBLEM_TYPE))
    detail = problem.get("detail")
    if kind and isinstance(detail, str):
        return kind(_unescaped(detail), [*_faults(problem.get("errors"))])
    said = f": {detail}" if isinstance(detail, str) else ""
    content = content_type(response) or "no content type"
    answered = f"{response.status_code} {response.reason_phrase} ({content})"
    return Refused(f"{shown(response.request.url)} answered {answered}{said}", response.status_code)


def shown(url: str | httpx.URL) -> str:
    """An address as people and logs may read it: without a user's password."""
    return re.sub("(?<=://)[^/?#]*@", "", str(url))


def bad_tls(error: BaseException | None) -> str | None:
    """Why there is no TLS with a server, now or later, with what helps; None where that is not what is wrong."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message} (name the file of its CA in SSL_CERT_FILE)"
    if error is not None and error.reason in _NO_TLS:
        return "it speaks no TLS on this port: write http:// instead of https://"
    return None


def content_type(response: httpx.Response) -> str:
    """The media type without its parameters."""
    return str(response.headers.get("content-type", "")).partition(";")[0].strip().lower()


def retry_after(response: httpx.Response) -> float:
    """Seconds; 0 where there is none, or a date."""
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
        return [Fault(str(one["pointer"]), _unescaped(str(one["detail"]))) for one in listed]
    except (KeyError, TypeError):
        return []


def _unescaped(detail: str) -> str:
    """Without the advice for those who write a URL by hand: the client encodes it, and a %2B would be taken as it
    is."""
    return detail.replace(" (with + written as %2B)", " or 2026-11-22T08:27:00+02:00")
