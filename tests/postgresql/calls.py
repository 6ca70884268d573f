"""Counts the queries that a log makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from roomcast.log.postgresql.connection import Session
from roomcast.log.postgresql.log import PostgresLog
from roomcast.log.postgresql.queries import Row
from tests.log.steps import until


class Calls:
    """The answered queries of one log by name, from the moment when this is made."""

    def __init__(self, log: PostgresLog) -> None:
        self.answered: Counter[str] = Counter()
        for session in log._sessions:
            self._count(session)

    async def until_answered(self, name: str, times: int = 1) -> None:
        """Waits until the query `name` was answered so many more times."""
        goal = self.answered[name] + times

        async def reached() -> bool:
            return self.answered[name] >= goal

        await until(reached)

    def _count(self, session: Session) -> None:
        call = session._call

        async def counting(name: str, *values: object) -> Sequence[Row]:
            rows = await call(name, *values)
            self.answered[name] += 1
            return rows

        session._call = counting  # type: ignore[method-assign]
