"""What is decided of a request before its body is read: where it comes from, who asks, and how much they may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from roomcast.api.publish import publish
from roomcast.api.request import TICKET, Request, Route
from roomcast.auth.credentials import of_cookie
from roomcast.auth.guard import Guard
from roomcast.auth.limits import client_name
from roomcast.auth.permit import require
from roomcast.delivery.engine import Engine
from roomcast.http.forwarded import Forwarded
from roomcast.http.gate import Gate
from roomcast.http.same_site import check_same_site


class Admission:
    """Lets requests in."""

    def __init__(self, engine: Engine, guard: Guard, gate: Gate, forwarded: Forwarded) -> None:
        self._engine = engine
        self._guard = guard
        self._gate = gate
        self._forwarded = forwarded

    def admit(self, request: Request, route: Route) -> None:
        """Notes who asks. Raises `RoomcastError` where the request is refused."""
        self._gate.check_forwarded(request.head, request.values)
        if route.asks_who:
            self._identify(request, route)
        self._limit(request, route)
        route.admits(request)

    def _identify(self, request: Request, route: Route) -> None:
        request.guard, values = self._guard, request.values
        ticket = values.get(TICKET)
        if ticket is not None and not route.takes_ticket:
            self._guard.check_url(["ticket"])
            ticket = None
        if request.host is not None:
            request.principal = request.host
        else:
            # An empty Last-Event-ID is that of a client that has no id.
            authorization, resumes = values.get(b"authorization"), bool(values.get(b"last-event-id"))
            if self._guard.cookie and authorization is None and ticket is None:
                self._take_cookie(request, route)
            request.principal = self._guard.identify(
                authorization, ticket, request.cookie, resumes=resumes, client=partial(self._address_of, request)
            )
        if route.needs is not None:
            require(request.principal, route.needs)

    def _take_cookie(self, request: Request, route: Route) -> None:
        """Notes the credential in a cookie, where there is one. Raises `NotServed` where another site's page may
        have sent it, and `InvalidToken` where it is there twice."""
        sent = request.values.get(b"cookie")
        if sent is None or route.by_key_only:  # a key is nothing for a browser
            return
        request.cookie = of_cookie(sent, self._guard.cookie)
        if request.cookie is not None:
            check_same_site(request.head, request.values, self._gate.named, request.peer.scheme())

    def _limit(self, request: Request, route: Route) -> None:
        """Takes one message of what the client's address, and its principal, may publish; `api/publish` takes the
        others of a batch. Raises `TooMany`."""
        principal, by_address = request.principal, self._engine.publish_limits
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
            rates, name = self._engine.rates, request.counted_as
            rates.take(principal, name)
            takes.append(partial(rates.take_more, principal, name))
        request.take_more = partial(_take_from_all, takes)

    def _address_of(self, request: Request) -> str:
        """The client's, as limits know it."""
        return client_name(self._forwarded.client_of(request.peer.address(), request.values))


def _take_from_all(takes: Sequence[Callable[[int], None]], count: int) -> None:
    for take in takes:
        take(count)
