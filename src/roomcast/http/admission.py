"""Checks a request before its body is read: the proxies' headers, the principal, and the rate limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from roomcast.api.publish import publish
from roomcast.api.request import TICKET, Request, Route
from roomcast.auth.credentials import of_cookie
from roomcast.auth.guard import Guard
from roomcast.auth.permit import require
from roomcast.auth.rate_limiter import client_name
from roomcast.delivery.engine import Engine
from roomcast.http.forwarded import Forwarded
from roomcast.http.gate import Gate
from roomcast.http.same_site import check_same_site


class Admission:
    """Admits requests, or refuses them."""

    def __init__(self, engine: Engine, guard: Guard, gate: Gate, forwarded: Forwarded) -> None:
        self._engine = engine
        self._guard = guard
        self._gate = gate
        self._forwarded = forwarded

    def admit(self, request: Request, route: Route) -> None:
        """Sets the principal of `request`, and takes from its limits as `route` requires. Raises `RoomcastError`
        if the request is refused."""
        self._gate.check_forwarded(request.head, request.values)
        if route.needs_principal:
            self._identify(request, route)
        self._limit(request, route)
        route.check(request)

    def _identify(self, request: Request, route: Route) -> None:
        request.guard, values = self._guard, request.values
        ticket = values.get(TICKET)
        if ticket is not None and not route.takes_ticket:
            self._guard.check_url(["ticket"])
            ticket = None
        if request.host is not None:
            request.principal = request.host
        else:
            # A client that has no id may send an empty Last-Event-ID.
            authorization, resumes = values.get(b"authorization"), bool(values.get(b"last-event-id"))
            if self._guard.cookie and authorization is None and ticket is None:
                self._take_cookie(request, route)
            request.principal = self._guard.identify(
                authorization, ticket, request.cookie, resumes=resumes, client=partial(self._address_of, request)
            )
        if route.needs is not None:
            require(request.principal, route.needs)

    def _take_cookie(self, request: Request, route: Route) -> None:
        """Sets the credential of a request from its cookie, if it has one. Raises `NotServed` if another site's
        page may have sent it, and `InvalidToken` if it was sent twice."""
        sent = request.values.get(b"cookie")
        if sent is None or route.by_key_only:  # browsers have no keys
            return
        request.cookie = of_cookie(sent, self._guard.cookie)
        if request.cookie is not None:
            check_same_site(request.head, request.values, self._gate.cookie_origins, request.connection.scheme())

    def _limit(self, request: Request, route: Route) -> None:
        """Takes one message from the rate limits of the client's address and of its principal. `api/publish` takes
        the remaining messages of a batch. Raises `TooMany`."""
        principal, by_address = request.principal, self._engine.address_limiter
        streams, rate, _ = principal.quota
        if streams or rate:
            request.counted_as = principal.scope or f"address:{self._address_of(request)}"
        if route.perform is not publish or (by_address is None and rate is None):
            return
        takes: list[Callable[[int], None]] = []
        if by_address is not None:
            address = self._address_of(request)
            by_address.take(address)
            takes.append(partial(by_address.take_more, address))
        if rate is not None:
            limiters, name = self._engine.principal_limiters, request.counted_as
            limiters.take(principal, name)
            takes.append(partial(limiters.take_more, principal, name))
        request.take_more = partial(_take_from_all, takes)

    def _address_of(self, request: Request) -> str:
        """The client's address, as rate limits name it."""
        return client_name(self._forwarded.client_of(request.connection.address(), request.values))


def _take_from_all(takes: Sequence[Callable[[int], None]], count: int) -> None:
    for take in takes:
        take(count)
