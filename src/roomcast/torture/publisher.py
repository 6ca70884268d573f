"""A publisher that is cut, tries again with the same key, and writes down what became of each message."""

from __future__ import annotations

import asyncio
import json
import time
from random import Random
from typing import Any

from roomcast.torture.record import Record
from roomcast.torture.target import Answer, Connection, Target

MOST_AT_ONCE = 10
_CUT = 0.02
"""How often a publisher cuts its own connection behind a request."""
_KEYED = 0.7
"""How often a publish has an idempotency key, and so may be tried again."""


class Publisher:
    """One of several."""

    def __init__(self, target: Target, record: Record, rooms: list[str], name: str, random: Random) -> None:
        self._target = target
        self._record = record
        self._rooms = rooms
        self._name = name
        self._random = random
        self._connection: Connection | None = None
        self._sent = 0
        self.sent_at: dict[str, float] = {}
        """When each text was first sent, for those who measure."""

    async def run(self, until: float, pause: float) -> None:
        """Publishes until then (in the loop's time), with so long a pause between."""
        while asyncio.get_running_loop().time() < until:
            size = self._random.randint(2, MOST_AT_ONCE) if self._random.random() < 0.2 else 1
            await self.publish(self._random.choice(self._rooms), size, keyed=self._random.random() < _KEYED)
            if pause:
                await asyncio.sleep(pause * 2 * self._random.random())

    async def publish(self, room: str, size: int = 1, *, keyed: bool = True, patience: float = 60) -> bool:
        """One request, again and again where its key allows it; whether it was acknowledged."""
        texts = [f"{self._name}-{self._sent + n}" for n in range(size)]
        self._sent += size
        self._record.attempt(texts, room)
        body = _body([{"room": room, "text": text} for text in texts])
        headers = {"Content-Type": "application/json"}
        if keyed:
            headers["Idempotency-Key"] = texts[0]
        end = asyncio.get_running_loop().time() + patience
        while asyncio.get_running_loop().time() < end:
            self.sent_at |= dict.fromkeys(texts, time.monotonic())
            answer = await self._post(headers, body)
            if answer is not None and answer.status < 500:
                return self._settle(texts, answer)
            if answer is not None and not keyed:
                self._record.refuse(texts)  # nothing of it is stored, says the contract
                return False
            if not keyed:
                break
            self._record.counts["tried again"] += 1
            await asyncio.sleep(0.05 + 0.2 * self._random.random())
        self._record.counts["unknown"] += size
        return False

    def close(self) -> None:
        """Lets go of its connection."""
        if self._connection:
            self._connection.cut()

    def _settle(self, texts: list[str], answer: Answer) -> bool:
        if answer.status in (200, 201):
            stored = answer.json
            self._record.acknowledge(texts, stored if isinstance(stored, list) else [stored])
            return True
        self._record.refuse(texts)
        self._record.violate(f"a publish was refused with {answer.status}: {answer.body[:200]!r}")
        return False

    async def _post(self, headers: dict[str, str], body: bytes) -> Answer | None:
        """The answer; None where the connection ended before it came."""
        try:
            if self._connection is None:
                self._connection = await self._target.connect()
            await self._connection.send("POST", "/messages", headers, body)
            if self._random.random() < _CUT:
                self._record.counts["cuts"] += 1
                raise ConnectionError("cut by ourselves")
            return await self._connection.answer()
        except (OSError, ValueError, TimeoutError):
            self.close()
            self._connection = None
            return None


def _body(messages: list[dict[str, Any]]) -> bytes:
    return json.dumps(messages[0] if len(messages) == 1 else messages).encode()
