"""A publisher that cuts its connection, retries with the same key, and records the outcome of each message."""

from __future__ import annotations

import asyncio
import json
import time
from random import Random
from typing import Any

from roomcast.torture.record import Position, Record
from roomcast.torture.target import RawAnswer, RawConnection, Target

MOST_AT_ONCE = 10
_CUT = 0.02
"""The share of retriable requests after which a publisher cuts its own connection."""
_KEYED = 0.7
"""The share of publishes with an idempotency key. These may be retried."""
_REPEATED = 0.03
"""The share of acknowledged publishes with a key that are sent again."""
_DELETED = 0.02
"""The share of the other acknowledged publishes whose first message is deleted."""
_NOT_OFFERED = 501
"""The answer of a log that cannot delete."""
_TOO_LARGE = 413
"""The only refusal that is right: a batch may be larger than the retention."""


class Publisher:
    """One publisher of several."""

    def __init__(
        self, target: Target, record: Record, rooms: list[str], name: str, random: Random, *, deletes: bool = True
    ) -> None:
        """`deletes`: whether it deletes some of what it published."""
        self._target = target
        self._record = record
        self._rooms = rooms
        self._name = name
        self._random = random
        self._connection: RawConnection | None = None
        self._sent = 0
        self.sent_at: dict[str, float] = {}
        """When each text was last sent, for followers that measure delays."""
        self.stopped = False
        """Once set, it begins no other request."""
        self._may_delete = deletes
        """Whether it deletes. False once the server refuses, because its log cannot delete or the credential lacks
        the right."""

    async def run(self, until: float, pause: float) -> None:
        """Publishes until the loop's time is `until`, with pauses of about `pause` seconds."""
        while asyncio.get_running_loop().time() < until and not self._over:
            size = self._random.randint(2, MOST_AT_ONCE) if self._random.random() < 0.2 else 1
            await self.publish(self._random.choice(self._rooms), size, keyed=self._random.random() < _KEYED)
            if pause:
                await asyncio.sleep(pause * 2 * self._random.random())

    async def publish(self, room: str, size: int = 1, *, keyed: bool = True, patience: float = 60) -> bool:
        """Publishes `size` messages to `room` in one request. With `keyed`, it has an idempotency key and is
        retried for `patience` seconds. Returns whether it was acknowledged."""
        texts = [f"{self._name}-{self._sent + n}" for n in range(size)]
        self._sent += size
        self._record.attempt(texts, room)
        request = _Request(texts, room, keyed)
        end = asyncio.get_running_loop().time() + patience
        while (left := end - asyncio.get_running_loop().time()) > 0 and not self._record.epoch_changed:
            self.sent_at |= dict.fromkeys(texts, time.monotonic())
            answer = await self._post(request)
            if answer is not None and answer.status < 500 and answer.status != 429:
                return await self._settle(request, answer)
            if answer is not None and _stores_nothing(answer):
                await asyncio.sleep(min(left, _retry_after(answer)))
                if not keyed:
                    break
            elif request.in_doubt and not keyed:
                break
            else:
                await asyncio.sleep(min(left, 0.05 + 0.2 * self._random.random()))
            self._record.counts["tried again"] += 1
        if request.in_doubt:
            self._record.counts["unknown"] += size
        else:
            self._record.refuse(texts)
        return False

    def close(self) -> None:
        """Closes its connection."""
        if self._connection:
            self._connection.cut()
            self._connection = None

    @property
    def _over(self) -> bool:
        return self.stopped or self._record.epoch_changed

    async def _settle(self, request: _Request, answer: RawAnswer) -> bool:
        if answer.status in (200, 201):
            if answer.status == 200 and not request.in_doubt:
                self._record.violate(f"{request.texts[0]!r} was refused, and stored all the same")
            if not self._acknowledge(request, answer):
                return True  # without a message that could be deleted
            if request.keyed and self._random.random() < _REPEATED:
                await self._repeat(request, answer)
            elif self._may_delete and self._random.random() < _DELETED:
                await self._delete(answer)
            return True
        self._record.refuse(request.texts)
        if answer.status != _TOO_LARGE or len(request.texts) == 1:
            self._record.violate(f"a publish was refused with {answer.status}: {answer.body[:200]!r}")
        return False

    def _acknowledge(self, request: _Request, answer: RawAnswer) -> bool:
        """Notes that the request is stored. Returns whether the answer has its messages, and records a violation
        if not."""
        try:
            return self._record.acknowledge(request.texts, _stored(answer))
        except (ValueError, KeyError, TypeError):
            self._violate_malformed("a publish", answer)
            return False

    async def _delete(self, first: RawAnswer) -> None:
        """Deletes the first of the stored messages."""
        id = str(_stored(first)[0]["id"])
        seq = Position.parse(id).seq
        self._record.deleting.add(seq)
        answer = await self._send("DELETE", f"/messages/{id}")
        if answer is None or answer.status >= 500:
            self._may_delete = answer is None or answer.status != _NOT_OFFERED
        elif answer.status in (401, 403, 405):
            self._may_delete = False
        elif answer.status in (204, 410):
            self._record.counts["deleted"] += answer.status == 204
            self._record.deleted.add(seq)
        elif not self._record.epoch_changed:
            self._record.violate(f"{id} was acknowledged, and its deletion was answered with {answer.status}")

    async def _repeat(self, request: _Request, first: RawAnswer) -> None:
        """Sends an acknowledged request again. A 200 must have the same body. A 201 means that it is stored twice;
        the record knows whether that is allowed."""
        self._record.counts["repeated"] += 1
        again = await self._post(request)
        if again is None or again.status >= 429:
            return
        if again.status == 200 and again.body != first.body:
            self._record.violate(
                f"a publish and its repetition were answered with {first.body!r} and {again.body!r}"
            )
        elif again.status == 201:
            try:
                for message in _stored(again):
                    self._record.identify(message)
            except (ValueError, KeyError, TypeError):
                self._violate_malformed("the repetition of a publish", again)
        elif again.status != 200:
            self._record.violate(f"the repetition of a publish was refused with {again.status}")

    def _violate_malformed(self, what: str, answer: RawAnswer) -> None:
        self._record.violate(f"{what} was answered with {answer.status}: {answer.body[:200]!r}")

    async def _post(self, request: _Request) -> RawAnswer | None:
        """The answer; None if there is none. The request notes whether it may be stored without an answer."""
        try:
            connection = await self._connected()
            request.unanswered += 1
            await connection.send("POST", "/messages", request.headers, request.body)
            if request.keyed and self._random.random() < _CUT:
                self._record.counts["cuts"] += 1
                raise ConnectionError("cut by ourselves")
            answer = await connection.answer()
            request.unanswered -= answer.status < 500 or _stores_nothing(answer)
            return answer
        except (OSError, ValueError, TimeoutError):
            self.close()
            return None

    async def _send(self, method: str, path: str) -> RawAnswer | None:
        """The answer to a request without a body; None if there is none."""
        try:
            connection = await self._connected()
            await connection.send(method, path, {})
            return await connection.answer()
        except (OSError, ValueError, TimeoutError):
            self.close()
            return None

    async def _connected(self) -> RawConnection:
        if self._connection is None or not self._connection.kept:
            self.close()
            self._connection = await self._target.connect()
        return self._connection


class _Request:
    """A publish request, and whether it may be stored although no answer says so."""

    def __init__(self, texts: list[str], room: str, keyed: bool) -> None:
        messages = [{"room": room, "text": text} for text in texts]
        self.texts = texts
        self.keyed = keyed
        self.body = json.dumps(messages[0] if len(messages) == 1 else messages).encode()
        self.headers = {"Content-Type": "application/json"}
        if keyed:
            self.headers["Idempotency-Key"] = texts[0]
        self.unanswered = 0
        """How often it was sent without a conclusive answer."""

    @property
    def in_doubt(self) -> bool:
        return self.unanswered > 0


def _stores_nothing(answer: RawAnswer) -> bool:
    """Whether the server itself says that nothing is stored. A proxy's 503 says nothing about the server behind
    it."""
    return answer.status == 429 or (
        answer.status == 503 and answer.fields.get("content-type", "").startswith("application/problem+json")
    )


def _retry_after(answer: RawAnswer) -> float:
    """Seconds of `Retry-After`; a date counts as one."""
    said = answer.fields.get("retry-after", "1")
    return float(said) if said.isdecimal() else 1.0


def _stored(answer: RawAnswer) -> Any:
    stored = answer.json
    return stored if isinstance(stored, list) else [stored]
