"""A session without a database: each query has the answer that a test gives it."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from roomcast.log.consumers import Consumers
from roomcast.log.postgresql.connection import Session
from roomcast.log.postgresql.tail import PostgresTail
from roomcast.log.postgresql.tuning import PostgresTuning
from roomcast.model.message import Message

Answer = Sequence[dict[str, Any]] | Exception

QUICK = PostgresTuning(0.01, 0.01, 0.01, 0.01, 0.01, 0.05)
LOG: dict[str, Any] = {
    "epoch": "e",
    "newest": 0,
    "nonce": 7,
    "trimmed": 0,
    "messages": 0,
    "bytes": 0,
    "changes": 0,
    "oldest_at": 0,
}
"""The row of an empty log."""
NEWS: dict[str, Any] = {
    **LOG,
    **dict.fromkeys(["seqs", "rooms", "types", "stored_ats", "prevs", "bodies"]),
    "version": 1,
    "least": 1,
    "stored": 0,
    "stored_nonce": 7,
    "life": "1",
    "here": "1",
    "others": False,
    "outbox": False,
}
"""The row that says that an empty log has no news."""


def news(*seqs: int, **more: Any) -> dict[str, Any]:
    """The row with the messages `seqs`, all in the room `a` and with the body `{}`."""
    columns = {
        "seqs": list(seqs),
        "rooms": ["a" for _ in seqs],
        "types": [None for _ in seqs],
        "stored_ats": [1 for _ in seqs],
        "prevs": [seq - 1 for seq in seqs],
        "bodies": [b"{}" for _ in seqs],
    }
    return {**NEWS, **columns, "newest": seqs[-1], "stored": seqs[-1], **more}


class FakeSession(Session):
    """Answers each query from `answers`: with the next of them, and with the last one again and again. A query
    that has none is answered with no rows."""

    def __init__(self, **answers: Sequence[Answer]) -> None:
        super().__init__("postgresql://db/chat")
        self.calls: Counter[str] = Counter()
        self.answers: dict[str, list[Answer]] = {
            "identify": [[SERVER]],
            "load_version": [[{"version": 1, "least": 1}]],
            "begin_life": [[{"epoch": "e", "begun": False, "timed": 0}]],
            "load_log": [[LOG]],
            "load_news": [[NEWS]],
            **{name: list(given) for name, given in answers.items()},
        }

    @asynccontextmanager
    async def transaction(self, only: str = "") -> AsyncIterator[Callable[..., Any]]:
        yield self._call

    async def script(self, *texts: str) -> None:
        await self._call("script")

    async def _call(self, name: str, *values: object) -> Sequence[dict[str, Any]]:
        self.calls[name] += 1
        given = self.answers.get(name, [[]])
        answer = given.pop(0) if len(given) > 1 else given[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


SERVER: dict[str, Any] = {
    "standby": False,
    "version": 160_000,
    "encoding": "UTF8",
    "made": True,
    "fsync_off": False,
    "commit_off": False,
}
"""The answer of a database that can be used, to `identify`."""


async def no_messages(after: int) -> Sequence[Message]:
    return []


def tail_on(session: Session, tuning: PostgresTuning = QUICK) -> PostgresTail:
    """A tail of an empty log."""
    consumers = Consumers(0, 0, no_messages, lambda: None)
    return PostgresTail("postgresql://db/chat", session, consumers, tuning, 64_000, 100_000)
