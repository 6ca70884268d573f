"""The client for threads."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from roomcast.client import address, body, messages, request
from roomcast.client.body import MAX_ANSWER
from roomcast.client.call import AGAIN_ON, Answer, Call
from roomcast.client.decode import Event
from roomcast.client.driver import OnOpen, OnPause
from roomcast.client.http import Ask, Auth, Given, Headers, Http, Options, Proxy
from roomcast.client.messages import (
    FollowerInfo,
    Followers,
    Gap,
    IssuedTicket,
    Live,
    Message,
    Page,
    Publication,
    Room,
    Stored,
)
from roomcast.client.options import BlockingOptions
from roomcast.client.request import UNSET, Replay, Since
from roomcast.client.source import Source
from roomcast.client.sse import EventSource


class Follower:
    """An iterator over what a stream brings. One thread iterates; any may `close` it."""

    def __init__(self, source: EventSource[Event]) -> None:
        self._source = source

    @property
    def last_event_id(self) -> str:
        """That of what was taken last: `follow(..., last_event_id=...)` goes on there another time."""
        return self._source.last_event_id

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message | Gap | Live:
        while True:
            if (found := messages.heard(next(self._source))) is not None:
                return found

    def close(self) -> None:
        """Ends the stream and the iteration, in whatever thread it waits."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Client:
    """A roomcast server.

    `headers`, `auth` (a bearer token, a user and a password, or what httpx takes) and `proxy` may be functions,
    called for each request. `heartbeat` is the server's, in seconds: a stream that says nothing for 2.5 of them
    is dead; by default it is 15, until a server turns out to be slower. `patience`: seconds in which a request is
    tried again where the server is away. `max_delay`: seconds between two connections of a stream at most.
    `max_answer`: bytes that an answer may have (64 MiB); more raises `TooMuch`. `more` goes to httpx's client,
    such as `verify`.

    Raises `ValueError` where `url` is no server's address, and `TypeError` where an option is none.

    Requests raise the server's own errors (`roomcast.model.errors`: `Invalid`, `TooLarge`, `KeyReused`, …):
    `Unauthenticated` where the credential is not taken, nor the fresh one where `auth` or `headers` is a function;
    `Forbidden` where it lacks a right. They raise `Unreachable` where there was no answer in time, and `Refused`
    where it is none of roomcast's."""

    def __init__(
        self,
        url: str = "http://localhost:8080",
        *,
        headers: Given[Headers | None] = None,
        auth: Given[Auth] = None,
        proxy: Given[Proxy] = None,
        heartbeat: float | None = None,
        patience: float = 30.0,
        max_delay: float = 60.0,
        max_answer: int = MAX_ANSWER,
        **more: Unpack[BlockingOptions],
    ) -> None:
        self.url = address.server(url)
        self._http = Http(Options(headers, auth, proxy, more, _OPTIONS))
        self._heartbeat = heartbeat
        self._patience = patience
        self._max_delay = max_delay
        self._max_answer = max_answer

    def follow(
        self,
        *rooms: str,
        prefixes: Iterable[str] = (),
        since: Since | None = None,
        replay: Replay | None = None,
        last_event_id: str | None = None,
        on_open: OnOpen | None = None,
        on_pause: OnPause | None = None,
    ) -> Follower:
        """Messages of these rooms, and of all whose names begin with one of `prefixes`; gaps, and `Live` each time
        a replay ends, over all reconnects; for ever.

        It starts at `last_event_id`, else `since`, else `replay` (`all` by default), and connects when it is
        first iterated. `on_open` is called with each stream's response, `on_pause` before each pause; what they
        raise ends it. Where the credential ends, it goes on at once with the one that `auth` gives then. Raises
        `Invalid`, `Unauthenticated`, `Forbidden`, and `Refused`."""
        source = Source(
            last_event_id=last_event_id or "",
            max_delay=self._max_delay,
            again_on=AGAIN_ON,
            read_timeout=request.silence(self._heartbeat),
            learns=self._heartbeat is None,
            heeds_end=True,
            renews=self._http.renews,
        )
        ask = request.follow(self.url, rooms, [*prefixes], since, replay)
        return Follower(EventSource(self._http, ask, source, on_open=on_open, on_pause=on_pause))

    def publish(
        self,
        room: str,
        *,
        text: str | None = None,
        data: Any = UNSET,
        type: str | None = None,
        user: str | None = None,
        idempotency_key: str | None = None,
    ) -> Message:
        """Stores a message durably, once, however often it must be tried. `data` is anything that JSON can say."""
        message = request.publication(room, text=text, data=data, type=type, user=user)
        return messages.messages((self._ask(request.publish(self.url, message, idempotency_key))).body)[0]

    def publish_batch(
        self, publications: Iterable[Publication | Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> Stored:
        """Stores 1 to 1,000 messages, all or none, with consecutive ids. The list's `known` says whether they had
        been stored before, under the same `idempotency_key`."""
        answer = self._ask(request.publish(self.url, [*publications], idempotency_key))
        stored = Stored(messages.messages(answer.body))
        stored.known = answer.known
        return stored

    def history(
        self,
        *rooms: str,
        prefixes: Iterable[str] = (),
        after: str | None = None,
        before: str | None = None,
        since: Since | None = None,
        replay: Replay | None = None,
        limit: int | None = None,
    ) -> Page:
        """A page of at most `limit` (100) messages of these rooms, and of all whose names begin with one of
        `prefixes`; a page has at most 1,000."""
        where = {"after": after, "before": before, "since": since, "replay": replay}
        ask = request.history(self.url, rooms, [*prefixes], **where, limit=limit)
        return messages.page((self._ask(ask)).body)

    def ticket(
        self,
        *rooms: str,
        prefixes: Iterable[str] = (),
        publish: Iterable[str] = (),
        sub: str | None = None,
        user: str | None = None,
        seconds: float | None = None,
    ) -> IssuedTicket:
        """A credential for these rooms, for rooms whose names begin with `prefixes`, and for publishing to
        those of `publish`, which needs `sub`: whom it is for. It is good for `seconds`, by default an hour.

        The client's own credential must have these rights."""
        ask = request.ticket(
            self.url,
            rooms=rooms,
            prefixes=[*prefixes],
            publish=[*publish],
            sub=sub,
            user=user,
            seconds=seconds,
        )
        return messages.ticket((self._ask(ask)).body)

    def message(self, id: str) -> Message:
        """One message. Raises `NotFound`, `Gone`."""
        return messages.messages((self._ask(request.message(self.url, id))).body)[0]

    def delete(self, id: str) -> None:
        """Deletes one message, durably; it is tried again as a publish is. Raises `NotFound`, and `Gone` where it
        was gone before."""
        messages.deleted((self._ask(request.delete(self.url, id))).body)

    def delete_room(self, room: str) -> None:
        """Deletes all messages that a room has, durably; where it has none, nothing is done."""
        messages.deleted((self._ask(request.delete_room(self.url, room))).body)

    def revoke(self, sub: str, *, iss: str | None = None, before: datetime | str | None = None) -> None:
        """Ends the tokens and tickets that `sub` was given before a time (default: now), and their streams. With
        `iss`, ends only the tokens of that issuer. It needs a key with the admin right."""
        messages.deleted((self._ask(request.revoke(self.url, sub, iss, before))).body)

    def rooms(self) -> list[Room]:
        """Those that have messages or followers."""
        found: list[Room] = []
        left, page = self._max_answer, ""
        while True:
            answer = self._ask(dataclasses.replace(request.rooms(self.url, page), most=left))
            found += messages.rooms(answer.body)
            left -= len(answer.body)
            if not answer.next or answer.next == page:
                return found
            page = answer.next

    def followers(self, *, behind: int = 0) -> Followers:
        """Who follows, the oldest first: those that have at least `behind` messages yet to pass; and which of the
        server's workers did not answer. Needs the right `admin`. Raises `Forbidden`."""
        found: list[FollowerInfo] = []
        missing: set[int] = set()
        left, page = self._max_answer, ""
        while True:
            ask = request.followers(self.url, behind, page)
            answer = self._ask(dataclasses.replace(ask, most=left))
            told = messages.followers(answer.body)
            found += told.followers
            missing.update(told.missing)
            left -= len(answer.body)
            if not answer.next or answer.next == page:
                return Followers(found, sorted(missing))
            page = answer.next

    def close(self) -> None:
        """Ends every stream, and requests with `RuntimeError`, in whatever threads they wait: at once, but for
        a name that is looked up, or a connection that is made (10 s), just then."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, ask: Ask) -> Answer:
        call = Call(ask, self._patience, self._max_answer, renews=self._http.renews)
        while True:
            try:
                response = self._http.send(ask)
                try:
                    said = body.read(response, call.bound(response))
                finally:
                    response.close()
            except httpx.TransportError as error:
                pause = call.failed(error)
            else:
                answer = call.answered(response, said)
                if isinstance(answer, Answer):
                    return answer
                pause = answer
            self._http.closing.wait(pause)


_OPTIONS = ("url", *(Client.__init__.__kwdefaults__ or ()))
