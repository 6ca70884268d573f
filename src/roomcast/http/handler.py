"""The steps around every request, whatever its entry point: its route, errors as answers, CORS, counts and the
access line."""

from __future__ import annotations

import asyncio
import logging
import time
from asyncio import Future
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from itertools import count
from typing import Any

from roomcast.api.answer import Answer, Outcome, PendingAnswer, Streaming
from roomcast.api.parameters import parameters
from roomcast.api.request import NO_VALUES, ClientConnection, Head, PreparedHead, Request
from roomcast.api.routes import Routes
from roomcast.auth.guard import Guard
from roomcast.delivery.budget import READERS_SHARE, SMALL_BYTES
from roomcast.delivery.engine import Engine
from roomcast.delivery.stream import FollowerDetails
from roomcast.http import access
from roomcast.http.admission import Admission
from roomcast.http.all_routes import ROUTES
from roomcast.http.audit import Audit
from roomcast.http.cors import Cors
from roomcast.http.forwarded import Forwarded
from roomcast.http.gate import Gate
from roomcast.http.intake import Intake
from roomcast.http.problem import problem
from roomcast.http.refusals import reason
from roomcast.http.router import Router
from roomcast.model.errors import OutcomeUnknown, Overloaded, RightsUnavailable, RoomcastError, TooManyBad

Respond = Callable[[Outcome], None]
"""Takes a request's outcome. Called exactly once, at once or later; never for a cancelled request."""

_COUNTED = frozenset({"GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE"})
"""Methods with a label of their own in the metrics: a client must not be able to make new ones."""
_AUDITED = (400, 401, 403, 429)
"""Statuses of errors that may be refusals by rights."""
OTHER = "other"
"""The label of methods outside `_COUNTED`, and of unreadable requests."""

_FLOOD_SECONDS = 1.0
"""Delay of the answer to a client that has sent too many bad credentials: each of its connections then gets one
refusal a second instead of 10,000."""
_AGENT_CHARACTERS = 200
"""Characters kept of a user agent, which its client chooses."""
_AGENTS = 512
"""User agents that are cached, so that streams share one string."""

logger = logging.getLogger("roomcast.server")


class Handler:
    """Turns requests into outcomes."""

    def __init__(self, engine: Engine, guard: Guard, routes: Routes = ROUTES) -> None:
        self._engine = engine
        self._router = Router(routes)
        self._guard = guard
        self._gate = Gate(guard.mode, engine.settings.allow_origin)
        self._cors = Cors(self._gate)
        self._forwarded = Forwarded(engine.settings.trusted_proxy, engine.settings.forwarded_header)
        self._admission = Admission(engine, guard, self._gate, self._forwarded)
        self._logs_access = engine.settings.access_log and access.is_enabled()
        self._stream_numbers = count(1)
        self._audit = Audit()
        self.answers = engine.answers
        """The memory that all answers share."""
        self.max_body = engine.settings.max_body
        """Longest body of a request, in bytes."""
        self.intake = Intake(engine.settings.body_memory, engine.closed)
        """The memory of all requests that are being received."""

    def prepare(self, head: Head) -> PreparedHead:
        """Reads `head`. Never raises: its error becomes `refused`."""
        cors = self._cors.fields(head.fields.get(b"origin"))
        label = head.method if head.method in _COUNTED else OTHER
        try:
            self._gate.check(head)
            route = self._router.route(head)
            if route and route.needs_principal:
                self._guard.check_url([name for name, _ in parameters(head.query)])
            return PreparedHead(head, route, route and route.parse(head), None, cors, label)
        except RoomcastError as error:
            return PreparedHead(head, None, None, error.with_traceback(None), cors, label)

    def admit(self, request: Request) -> None:
        """Decides what can be decided about `request` before its body is read. Raises `RoomcastError`."""
        if request.prepared.route is not None:
            self._admission.admit(request, request.prepared.route)
        request.admitted = True

    def handle(self, request: Request, respond: Respond) -> asyncio.Task[None] | None:
        """Serves `request`, and gives the outcome to `respond`. Returns the task to cancel if the client
        disconnects; None if there is none. A small publish has none. If the task of a large one is cancelled, the
        log still stores the messages that it was given."""
        prepared = request.prepared
        try:
            if not request.admitted:
                self.admit(request)
            if prepared.route is None:
                outcome = self._answer_of_head(request)
            else:
                outcome = prepared.route.perform(self._engine, request, prepared.parsed)
        except TooManyBad as error:
            outcome = self._delayed(request, error)
        except Exception as error:
            outcome = self._failed(request, error)
        return self._settle(request, respond, outcome)

    def _settle(
        self, request: Request, respond: Respond, outcome: Outcome | PendingAnswer | Awaitable[Outcome]
    ) -> asyncio.Task[None] | None:
        if isinstance(outcome, (Answer, Streaming)):
            respond(self._finished(request, outcome))
        elif isinstance(outcome, PendingAnswer):
            outcome.future.add_done_callback(partial(self._resolve, request, respond, outcome))
        else:
            return asyncio.get_running_loop().create_task(self._await(request, respond, outcome))
        return None

    def refuse(self, request: Request, error: RoomcastError, respond: Respond) -> asyncio.Task[None] | None:
        """Answers `request`, whose body is not read to its end, with `error`. Gives the outcome to `respond`, and
        returns what `handle` does."""
        late = isinstance(error, TooManyBad)
        outcome = self._delayed(request, error) if late else self._problem(request, error)
        return self._settle(request, respond, outcome)

    async def _delayed(self, request: Request, error: RoomcastError) -> Answer:
        """The answer to a client that floods, after a delay. Meanwhile no other request of its connection is read;
        the rest of this request's body is dropped."""
        request.body = b""
        await asyncio.sleep(_FLOOD_SECONDS)
        return self._problem(request, error)

    def unreadable(
        self, target: bytes, error: RoomcastError, connection: ClientConnection, respond: Respond
    ) -> None:
        """Answers bytes from `connection` that are not HTTP with `error`, and gives the outcome to `respond` at
        once. `target` is as much of the bytes as the access line shows."""
        self._count(error)
        head = Head(OTHER, target, "", b"")
        prepared = PreparedHead(head, None, None, error, self._cors.fields(None), OTHER)
        respond(self._finished(Request(prepared, NO_VALUES, b"", connection), problem(error).last()))

    def _answer_of_head(self, request: Request) -> Outcome | PendingAnswer | Awaitable[Outcome]:
        """The answer that the head alone decides: an error, or a preflight's."""
        if request.prepared.refused is not None:
            return self._problem(request, request.prepared.refused)
        requested = request.values.get(b"access-control-request-headers", b"")
        return Answer(204, self._cors.preflight(self._router.methods(request.head.path), requested))

    def _resolve(self, request: Request, respond: Respond, later: PendingAnswer, future: Future[Any]) -> None:
        try:
            outcome = later.answer(future)
        except OutcomeUnknown:
            self._engine.closed["log"] += 1
            respond(Answer.none())
            return
        except Exception as error:
            outcome = self._failed(request, error)
        respond(self._finished(request, outcome))

    async def _await(self, request: Request, respond: Respond, outcome: Awaitable[Outcome]) -> None:
        try:
            result = await outcome
        except Exception as error:
            result = self._failed(request, error)
        respond(self._finished(request, result))

    def _problem(self, request: Request, error: RoomcastError) -> Answer:
        # RFC 9110, section 10.1.1: the expected body may still come or not, so the connection is closed.
        answer = self._failed(request, error)
        return answer.last() if b"expect" in request.head.fields else answer

    def _failed(self, request: Request, error: Exception) -> Answer:
        if not isinstance(error, RoomcastError):
            logger.error("%s %r failed", request.head.method, request.head.path, exc_info=error)
            error = RoomcastError("see the server's log")
        self._count(error)
        if isinstance(error, (RightsUnavailable, TooManyBad)) and (answer := self._retry_later(request)):
            return answer
        if error.status in _AUDITED:
            self._audit.log_refusal(request, error, self._client_of(request))
        return problem(error)

    def _count(self, error: RoomcastError) -> None:
        if why := reason(error):
            self._engine.refusals[why] += 1

    def _retry_later(self, request: Request) -> Answer | None:
        """The answer that tells the client to retry, if its route has one."""
        route = request.prepared.route
        return (
            route.retry_later(self._engine, request, request.prepared.parsed)
            if route and route.retry_later
            else None
        )

    def _client_of(self, request: Request) -> str:
        return self._forwarded.client_of(request.connection.address(), request.values) or "-"

    def _details_of(self, request: Request) -> FollowerDetails:
        agent = _agent(request.values.get(b"user-agent", b""))
        now = time.time_ns() // 1_000_000
        return FollowerDetails(
            next(self._stream_numbers), now, self._client_of(request), request.principal.name, agent
        )

    def _finished(self, request: Request, outcome: Outcome) -> Outcome:
        head = request.head
        if isinstance(outcome, Answer) and len(outcome.body) > SMALL_BYTES and outcome.reservation is None:
            outcome = self._reserved(request, outcome)
        elif isinstance(outcome, Streaming):
            outcome.details = self._details_of(request)
        outcome.cors = request.prepared.cors
        if head.method == "HEAD" and isinstance(outcome, Answer):
            outcome.body, outcome.pieces = b"", None  # its length is still sent (RFC 9110, section 9.3.2)
        self._engine.requests[request.prepared.label, outcome.status] += 1
        if self._logs_access:
            seconds = 0.0 if isinstance(outcome, Streaming) else time.perf_counter() - request.began
            access.log_request(
                self._client_of(request), head.method, head.target, outcome.status, seconds, request.principal.name
            )
        return outcome

    def _reserved(self, request: Request, answer: Answer) -> Answer:
        """The answer with its memory reserved; or an error if there is no memory for it. An answer that is always
        sent has none reserved: like a small one, it is counted only while its client does not take it."""
        route = request.prepared.route
        if route and route.always_answered:
            return answer
        try:
            answer.reservation = self.answers.reserve(len(answer.body), READERS_SHARE)
        except Overloaded as error:
            return self._problem(request, error)
        return answer


@lru_cache(_AGENTS)
def _agent(sent: bytes) -> str:
    """A user agent, shortened for display."""
    return sent[:_AGENT_CHARACTERS].decode("latin-1")
