"""A group of appends as one call of `roomcast.append`, and the answer to each append from its result. No I/O.

The database decides under its lock which requests are stored, and with which seqs. Decisions that need no lock are
made here: which requests are too large, and which of several requests with one key counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from roomcast.log.append_queue import AppendAnswer, PendingAppend
from roomcast.log.base import Appended
from roomcast.log.postgresql.queries import Row
from roomcast.log.sequencer import Key, KeyedAppend, check_rooms, check_size, repeat
from roomcast.model.errors import RoomcastError, TooLarge
from roomcast.model.message import Message
from roomcast.model.retention import Retention, RoomRules


class AppendGroup:
    """Appends that go in one transaction. Each is a request, numbered from 0 in the order of `pending`."""

    def __init__(self, pending: Sequence[PendingAppend], retention: Retention, rules: RoomRules) -> None:
        """`retention` and `rules` decide which of the requests in `pending` are too large."""
        self.pending = list(pending)
        self._refusals: dict[int, TooLarge] = {}
        """The errors of requests that are too large. If such a request has a known key, it still gets that key's
        answer."""
        self._request_of_key: dict[Key, int] = {}
        """The one request that is sent for each key: the first that would be stored, or else the last."""
        for number, one in enumerate(self.pending):
            self._check(number, one, retention, rules)
            self._note_key(number, one)

    def parameters(self) -> Sequence[object]:
        """The arrays that `roomcast.append` takes: the messages' rooms, types, bodies and requests; the keys'
        requests, scopes, names and digests."""
        storing = [number for number in range(len(self.pending)) if self._stores(number)]
        drafts = list(chain.from_iterable(self.pending[number].request.drafts for number in storing))
        requests = [number for number in storing for _ in self.pending[number].request.drafts]
        rooms, types, bodies = (list(column) for column in zip(*drafts, strict=True)) if drafts else ([], [], [])
        keys = [
            (number, scope, key, self._digest(number)) for (scope, key), number in self._request_of_key.items()
        ]
        numbers, scopes, names, digests = (list(c) for c in zip(*keys, strict=True)) if keys else ([], [], [], [])
        return rooms, types, bodies, requests, numbers, scopes, names, digests

    def answers(self, row: Row) -> tuple[list[Message], list[AppendAnswer]]:
        """The stored messages, and the answer to each append in the order of `pending`. `row`: the result of
        `roomcast.append`. If it says `again`, the `prev` of a message may be wrong."""
        known = _known(row)
        stored: list[Message] = []
        kept: dict[Key, KeyedAppend] = {}
        return stored, [self._answer(n, row, known, kept, stored) for n in range(len(self.pending))]

    def refuse(self, error: RoomcastError) -> None:
        """Answers each append of the group with `error`."""
        for one in self.pending:
            one.resolve(error)

    def _check(self, number: int, one: PendingAppend, retention: Retention, rules: RoomRules) -> None:
        try:
            check_size(one.request.drafts, retention)
            if rules.rules:
                check_rooms(one.request.drafts, rules)
        except TooLarge as error:
            self._refusals[number] = error

    def _note_key(self, number: int, one: PendingAppend) -> None:
        if (idempotency := one.request.idempotency) is None:
            return
        key = (idempotency.scope, idempotency.key)
        before = self._request_of_key.setdefault(key, number)
        if not self._stores(before):
            self._request_of_key[key] = number

    def _stores(self, number: int) -> bool:
        """Whether a request would be stored, if the log does not know its key."""
        drafts, idempotency = self.pending[number].request
        first = idempotency is None or self._request_of_key[idempotency.scope, idempotency.key] == number
        return bool(drafts) and first and number not in self._refusals

    def _digest(self, number: int) -> bytes:
        idempotency = self.pending[number].request.idempotency
        assert idempotency
        return idempotency.digest

    def _answer(
        self,
        number: int,
        row: Row,
        known: Mapping[int, KeyedAppend],
        kept: dict[Key, KeyedAppend],
        stored: list[Message],
    ) -> AppendAnswer:
        """The answer to one append. Adds its messages to `stored`, and its key to `kept`."""
        drafts, idempotency = self.pending[number].request
        key = (idempotency.scope, idempotency.key) if idempotency else None
        before = self._earlier(number, key, row, known, kept) if key else None
        if before and idempotency:
            try:
                return repeat(before, drafts, idempotency)
            except RoomcastError as error:
                return error
        if number in self._refusals:
            return self._refusals[number]
        first = row["first"] + len(stored)
        messages = self._messages(number, first, row)
        stored += messages
        if key and idempotency and messages:
            kept[key] = KeyedAppend(idempotency.digest, first, len(messages), row["stored_at"])
        return Appended(messages, False)

    def _earlier(
        self, number: int, key: Key, row: Row, known: Mapping[int, KeyedAppend], kept: Mapping[Key, KeyedAppend]
    ) -> KeyedAppend | None:
        """The result that an earlier request of this group, or an earlier append, stored with the same key; None
        if there is none."""
        if key in kept:
            return kept[key]
        before = known.get(self._request_of_key[key])
        # If the first answer to this append was lost, the key may be known because this append has stored it.
        own = before and before.first >= row["first"] and self._stores(number)
        return None if own else before

    def _messages(self, number: int, first: int, row: Row) -> list[Message]:
        """The stored messages of one request, which begin with the seq `first`."""
        prevs, base = row["prevs"] or (), row["first"]
        return [
            # If the first answer was lost, some of the messages may be gone already. `prevs` then has only those
            # of the others, at wrong places. These messages are not pushed, and nothing reads an answer's `prev`.
            Message(seq, room, type_, row["stored_at"], prevs[seq - base] if seq - base < len(prevs) else 0, body)
            for seq, (room, type_, body) in enumerate(self.pending[number].request.drafts, first)
        ]


def _known(row: Row) -> dict[int, KeyedAppend]:
    """The earlier append of each known key, by the number of the request that is sent for the key."""
    if not row["known_requests"]:
        return {}
    fields = zip(row["known_digests"], row["known_firsts"], row["known_counts"], row["known_ats"], strict=True)
    return {number: KeyedAppend(*kept) for number, kept in zip(row["known_requests"], fields, strict=True)}
