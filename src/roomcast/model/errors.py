"""All errors, as one tree. Each has the status of its answer.

The docstring of an error is its title, and says what is wrong. The detail that it is raised with says what to do.
Only the status number and the challenge are HTTP's: `http/problem` makes the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Fault:
    """A mistake in a request: the JSON pointer (RFC 6901) to its place, and what is wrong there."""

    pointer: str
    detail: str


class RoomcastError(Exception):
    """The server made a mistake."""

    status: ClassVar[int] = 500
    kind: ClassVar[str] = "internal"
    """The last part of the `type` in its answer (RFC 9457)."""
    challenge: ClassVar[str | None] = None
    """The part of `WWW-Authenticate` after the realm (RFC 6750, section 3); None if the header is not sent."""

    def __init__(self, detail: str = "", faults: Sequence[Fault] = ()) -> None:
        super().__init__(detail or self.title)
        self.detail: str = detail or self.title
        self.faults: tuple[Fault, ...] = tuple(faults)

    @property
    def title(self) -> str:
        """The first line of the class's docstring, without its full stop."""
        return (type(self).__doc__ or "").strip().split("\n")[0].rstrip(".")


class CannotStart(RoomcastError):
    """roomcast cannot start."""

    kind = "cannot-start"


class BadOption(CannotStart):
    """An option cannot have this value."""

    kind = "bad-option"

    def __init__(self, detail: str, line: int | None = None) -> None:
        super().__init__(detail)
        self.line = line
        """The line of the configuration file, counted from 1; None if the mistake is elsewhere."""


class LogUnusable(CannotStart):
    """The log cannot be opened."""

    kind = "log-unusable"


class LogUnavailable(RoomcastError):
    """The log is not available now."""

    status = 503
    kind = "log-unavailable"
    retry_after: ClassVar[int] = 2
    """Seconds after which a client may try again."""


class OutcomeUnknown(LogUnavailable):
    """It is not known whether this was stored."""

    kind = "outcome-unknown"


class Overloaded(RoomcastError):
    """The server has too much to do now."""

    status = 503
    kind = "overloaded"
    retry_after: ClassVar[int] = 2
    """Seconds after which a client may try again."""


class RightsUnavailable(RoomcastError):
    """The rights of this credential cannot be found out now."""

    status = 503
    kind = "rights-unavailable"
    retry_after: ClassVar[int] = 2
    """Seconds after which a client may try again."""


class LogRestarted(RoomcastError):
    """The log has a new epoch, or the next messages are gone: it cannot be read on from here."""

    status = 503
    kind = "log-restarted"


class BadCredential(RoomcastError):
    """The credential cannot be read."""

    status = 400
    kind = "bad-credential"
    challenge: ClassVar[str | None] = 'error="invalid_request"'


class Unauthenticated(RoomcastError):
    """This needs a credential."""

    status = 401
    kind = "unauthenticated"
    challenge: ClassVar[str | None] = ""


class InvalidToken(Unauthenticated):
    """The credential is not valid any more, or never was."""

    challenge: ClassVar[str | None] = 'error="invalid_token"'

    def __init__(self, detail: str = "", faults: Sequence[Fault] = (), *, reason: str = "") -> None:
        super().__init__(detail, faults)
        self.reason = reason
        """The check that failed, for the audit log; the answer does not name it."""


class Forbidden(RoomcastError):
    """The credential does not give this right."""

    status = 403
    kind = "forbidden"
    challenge: ClassVar[str | None] = 'error="insufficient_scope"'


class NotServed(RoomcastError):
    """Requests for this host, or from pages of this origin, are not served."""

    status = 403
    kind = "not-served"


class Malformed(RoomcastError):
    """The body cannot be read."""

    status = 400
    kind = "malformed"


class NotHttp(RoomcastError):
    """This is not HTTP that can be read."""

    status = 400
    kind = "not-http"


class NotFound(RoomcastError):
    """There is nothing here."""

    status = 404
    kind = "not-found"


class MethodNotAllowed(RoomcastError):
    """This method is not offered here."""

    status = 405
    kind = "method-not-allowed"

    def __init__(self, detail: str, allowed: Sequence[str]) -> None:
        super().__init__(detail)
        self.allowed: tuple[str, ...] = tuple(allowed)


class NotAcceptable(RoomcastError):
    """None of the accepted formats is offered."""

    status = 406
    kind = "not-acceptable"


class TimedOut(RoomcastError):
    """The request's body did not arrive in time."""

    status = 408
    kind = "timed-out"


class Gone(RoomcastError):
    """The message is no longer retained."""

    status = 410
    kind = "gone"


class TooLarge(RoomcastError):
    """The request is too large."""

    status = 413
    kind = "too-large"


class UnsupportedMediaType(RoomcastError):
    """The body's media type is not accepted."""

    status = 415
    kind = "unsupported-media-type"


class Invalid(RoomcastError):
    """The request is not valid."""

    status = 422
    kind = "invalid"


class KeyReused(RoomcastError):
    """The Idempotency-Key was used for another request."""

    status = 422
    kind = "key-reused"


class TooMany(RoomcastError):
    """Too many requests come from this client."""

    status = 429
    kind = "too-many"

    def __init__(self, detail: str, retry_after: int) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        """Seconds after which a client may try again."""


class TooManyBad(TooMany):
    """Too many credentials from this address are not valid."""


class HeadTooLarge(RoomcastError):
    """The request's head is too large."""

    status = 431
    kind = "head-too-large"


class NotOffered(RoomcastError):
    """This server is not set up for this, or its log cannot do it."""

    status = 501
    kind = "not-offered"


class TooManyRevocations(RoomcastError):
    """The log keeps no more revocations."""

    status = 507
    kind = "too-many-revocations"


class UnknownCoding(RoomcastError):
    """This Transfer-Encoding is not accepted."""

    status = 501
    kind = "unknown-coding"
