"""The client of a roomcast server."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, Unpack

import httpx

from roomcast.client import address, messages, request
from roomcast.client.attempts import AGAIN_ON, Attempts, Reply
from roomcast.client.awaiting.body import aread
from roomcast.client.awaiting.follower import AsyncFollower
from roomcast.client.awaiting.http import AsyncHttp
from roomcast.client.awaiting.sse import AsyncEventSource
from roomcast.client.body import MAX_ANSWER
from roomcast.client.concurrency import AsyncValueOrCall
from roomcast.client.http import Auth, Headers, HttpOptions, OutgoingRequest, Proxy
from roomcast.client.messages import (
    FollowerInfo,
    Followers,
    IssuedTicket,
    Message,
    Page,
    Publication,
    Room,
    Stored,
)
from roomcast.client.options import AwaitingOptions
from roomcast.client.request import UNSET, Replay, Since
from roomcast.client.stream_state import OnOpen, OnPause, StreamState


class AsyncClient:
    """A roomcast server, for an event loop.

    Requests raise the server's own errors (`roomcast.model.errors`: `Invalid`, `TooLarge`, `KeyReused`, …), and:

    - `Unauthenticated`: the server rejected the credential, and also the fresh one if `auth` or `headers` is a
      function;
    - `Forbidden`: the credential lacks a right;
    - `Unreachable`: there was no answer in time, or TLS or the environment's proxy cannot work;
    - `Refused`: the answer is not from roomcast; `TooMuch`: it is longer than `max_answer`.
    """

    def __init__(
        self,
        url: str = "http://localhost:8080",
        *,
        headers: AsyncValueOrCall[Headers | None] = None,
        auth: AsyncValueOrCall[Auth] = None,
        proxy: AsyncValueOrCall[Proxy] = None,
        heartbeat: float | None = None,
        patience: float = 30.0,
        max_delay: float = 60.0,
        max_answer: int = MAX_ANSWER,
        **others: Unpack[AwaitingOptions],
    ) -> None:
        """Connects to nothing yet. `headers`, `auth` and `proxy` may be functions or coroutine functions, which
        are called for each request.

        Args:
            url: The server's address.
            headers: Sent with each request.
            auth: A bearer token, a pair of user and password, or what httpx takes.
            proxy: The proxy's address; by default the environment's proxies are used.
            heartbeat: The server's heartbeat in seconds. A stream that is silent for 2.5 heartbeats is dead. By
                default it is 15 s until a server turns out to have a slower one.
            patience: Seconds in which a request is tried again while the server is away.
            max_delay: Maximum seconds between two connections of a stream.
            max_answer: Bytes that an answer may have, by default 64 MiB.
            others: Options of httpx's client, such as `verify`.

        Raises:
            ValueError: `url` is not the address of a server, or `proxy` not that of a proxy.
            TypeError: There is no such option.
        """
        self.url: str = address.server(url)
        self._http = AsyncHttp(HttpOptions(headers, auth, proxy, others, _OPTIONS))
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
    ) -> AsyncFollower:
        """Follows rooms over all reconnects, for ever. It connects when it is first iterated.

        It starts at `last_event_id`, else at `since`, else as `replay` says. When the credential ends, it goes on
        at once with the one that `auth` returns then.

        Args:
            rooms: Names of rooms.
            prefixes: Every room whose name begins with one of them is followed, including rooms that come later.
            since: An RFC 3339 time, a duration such as `10m`, a `datetime` with its zone, or a `timedelta`.
            replay: `all` (the default), `none`, or the number of the newest messages.
            last_event_id: The id to resume after.
            on_open: Called with each stream's response; its exceptions end the follow.
            on_pause: Called before each pause; its exceptions end the follow.

        Returns:
            An iterator of `Message`, of `Gap` where messages may be lost, and of `Live` each time a replay ends.
            Iterating it raises `Invalid`, `Unauthenticated`, `Forbidden`, `Refused`, `Endless` for an event of
            more than 8 MiB, and `Unreachable` if the environment's proxy cannot be used.

        Raises:
            ValueError: There is neither a room nor a prefix, or `since` has no zone.
            TypeError: A room is not a string.
        """
        state = StreamState(
            last_event_id=last_event_id or "",
            max_delay=self._max_delay,
            again_on=AGAIN_ON,
            read_timeout=request.max_silence(self._heartbeat),
            learns_heartbeat=self._heartbeat is None,
            is_roomcast=True,
            renews_credential=self._http.renews_credential,
        )
        stream = request.follow(self.url, rooms, [*prefixes], since, replay)
        return AsyncFollower(AsyncEventSource(self._http, stream, state, on_open=on_open, on_pause=on_pause))

    async def publish(
        self,
        room: str,
        *,
        text: str | None = None,
        data: Any = UNSET,
        type: str | None = None,
        user: str | None = None,
        idempotency_key: str | None = None,
    ) -> Message:
        """Stores a message durably and only once, however many attempts it takes.

        Args:
            room: The room's name.
            text: The text; it may be left out if there is `data`.
            data: Any JSON value, including None.
            type: The event's type.
            user: The author; by default the user of the credential, or `anonymous` if that may publish under any.
            idempotency_key: By default a new one. Give your own to be safe across a restart of your program.

        Returns:
            The message as it is stored.

        Raises:
            Invalid: A field is missing, too long or of the wrong kind.
            TooLarge: The message is larger than the server takes.
            KeyReused: Another request had the same key.
        """
        message = request.publication(room, text=text, data=data, type=type, user=user)
        reply = await self._reply(request.publish(self.url, message, idempotency_key))
        return messages.single(reply.body)

    async def publish_batch(
        self, publications: Iterable[Publication | Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> Stored:
        """Stores 1 to 1,000 messages, all or none, with consecutive ids.

        Args:
            publications: The messages, each a mapping with `room`, and `text`, `data`, `type` and `user` as for
                `publish`.
            idempotency_key: As for `publish`, for the whole batch.

        Returns:
            The list of the messages as they are stored. Its `known` is true if an earlier request with the same
            key had stored them.

        Raises:
            Invalid: A message is invalid; `faults` say which one and why.
            TooLarge: The batch is larger than the server takes.
            KeyReused: Another request had the same key.
        """
        reply = await self._reply(request.publish(self.url, [*publications], idempotency_key))
        stored = Stored(messages.batch(reply.body))
        stored.known = reply.known
        return stored

    async def history(
        self,
        *rooms: str,
        prefixes: Iterable[str] = (),
        after: str | None = None,
        before: str | None = None,
        since: Since | None = None,
        replay: Replay | None = None,
        limit: int | None = None,
    ) -> Page:
        """Reads one page of retained messages.

        Args:
            rooms: Names of rooms.
            prefixes: Every room whose name begins with one of them is read as well.
            after: Only messages after this id.
            before: Only messages before this id.
            since: As for `follow`.
            replay: As for `follow`.
            limit: Maximum number of messages: 100 by default, up to 1,000.

        Returns:
            A page with `messages` (oldest first), `position` (after which a `follow` continues) and `gap`
            (None if nothing can be lost).

        Raises:
            Invalid: A parameter is invalid.
            ValueError: There is neither a room nor a prefix, or `since` has no zone.
            TypeError: A room is not a string.
        """
        bounds = {"after": after, "before": before, "since": since, "replay": replay}
        reply = await self._reply(request.history(self.url, rooms, [*prefixes], **bounds, limit=limit))
        return messages.page(reply.body)

    async def ticket(
        self,
        *rooms: str,
        prefixes: Iterable[str] = (),
        publish: Iterable[str] = (),
        sub: str | None = None,
        user: str | None = None,
        seconds: float | None = None,
    ) -> IssuedTicket:
        """Asks the server for a ticket: a credential for some rooms, for a while. The client's own credential must
        have these rights.

        Args:
            rooms: Rooms that may be read.
            prefixes: Rooms whose names begin with one of them may be read.
            publish: Rooms that may be published to; they need `sub`.
            sub: The person that the ticket is for, as your application names them.
            user: The user of the messages published with it.
            seconds: How long it is valid; an hour by default.

        Returns:
            The ticket with `ticket` (the credential), `url` (the path of a stream of its rooms; None if no room
            may be read with it), `opens_in` and `ends_in` (seconds).

        Raises:
            NotOffered: The server has no secret to sign tickets with.
        """
        outgoing = request.ticket(
            self.url,
            rooms=rooms,
            prefixes=[*prefixes],
            publish=[*publish],
            sub=sub,
            user=user,
            seconds=seconds,
        )
        reply = await self._reply(outgoing)
        return messages.ticket(reply.body)

    async def message(self, id: str) -> Message:
        """Reads one message.

        Args:
            id: The message's id.

        Returns:
            The message.

        Raises:
            NotFound: There never was one with this id.
            Gone: It is no longer retained.
        """
        reply = await self._reply(request.message(self.url, id))
        return messages.single(reply.body)

    async def delete(self, id: str) -> None:
        """Deletes one message durably. It is retried like a publish. Needs the right `admin`.

        Args:
            id: The message's id.

        Raises:
            NotFound: There never was one with this id.
            Gone: It was gone before.
        """
        await self._no_content(request.delete(self.url, id))

    async def delete_room(self, room: str) -> None:
        """Deletes all messages of a room durably; an empty room is no error. Needs the right `admin`.

        Args:
            room: The room's name.
        """
        await self._no_content(request.delete_room(self.url, room))

    async def revoke(self, sub: str, *, iss: str | None = None, before: datetime | str | None = None) -> None:
        """Ends tokens and tickets of a person, and the streams opened with them. Needs a key with the right
        `admin`.

        Args:
            sub: The person's name in the tokens and tickets.
            iss: Ends only tokens of this issuer, and tickets issued for them.
            before: Ends only those issued before this time (RFC 3339, or a `datetime` with its zone); now by
                default.

        Raises:
            Invalid: A name is too long, or `before` is in the future.
            ValueError: `before` has no zone.
            NotOffered: The server checks no credentials.
            TooManyRevocations: The log keeps no more revocations.
        """
        await self._no_content(request.revoke(self.url, sub, iss, before))

    async def rooms(self) -> list[Room]:
        """Lists the rooms that have messages or followers.

        Returns:
            Each with `room` (its name), `messages` (their number), `newest` (an id) and `newest_at` (a time),
            which are None without messages, and `followers` (the number of streams that name it).
        """
        found: list[Room] = []
        remaining, page = self._max_answer, ""
        while True:
            reply = await self._reply(dataclasses.replace(request.rooms(self.url, page), max_answer=remaining))
            found += messages.rooms(reply.body)
            remaining -= len(reply.body)
            if not reply.next or reply.next == page:
                return found
            page = reply.next

    async def followers(self, *, behind: int = 0) -> Followers:
        """Lists the followers. Needs the right `admin`.

        Args:
            behind: Only followers that are at least this many messages of the log behind.

        Returns:
            `followers`, the oldest first, and `missing`, the numbers of the server's workers that did not answer.

        Raises:
            Forbidden: The credential lacks the right.
        """
        found: list[FollowerInfo] = []
        missing: set[int] = set()
        remaining, page = self._max_answer, ""
        while True:
            outgoing = request.followers(self.url, behind, page)
            reply = await self._reply(dataclasses.replace(outgoing, max_answer=remaining))
            answered = messages.followers(reply.body)
            found += answered.followers
            missing.update(answered.missing)
            remaining -= len(reply.body)
            if not reply.next or reply.next == page:
                return Followers(found, sorted(missing))
            page = reply.next

    async def aclose(self) -> None:
        """Ends every stream and every request, whichever task waits for it; a request raises `RuntimeError`.
        It may first wait for a name that is being looked up or a connection that is being made (10 s at most)."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _no_content(self, outgoing: OutgoingRequest) -> None:
        reply = await self._reply(outgoing)
        messages.check_empty(reply.body)

    async def _reply(self, outgoing: OutgoingRequest) -> Reply:
        attempts = Attempts(
            outgoing, self._patience, self._max_answer, renews_credential=self._http.renews_credential
        )
        while True:
            try:
                response = await self._http.send(outgoing)
                try:
                    body = await aread(response, attempts.max_bytes(response))
                finally:
                    await response.aclose()
            except httpx.TransportError as error:
                pause = attempts.failed(error)
            else:
                outcome = attempts.answered(response, body)
                if isinstance(outcome, Reply):
                    return outcome
                pause = outcome
            await self._http.pause(pause)


_OPTIONS = ("url", *(AsyncClient.__init__.__kwdefaults__ or ()))
