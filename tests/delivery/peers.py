"""Workers of one server that reach each other by plain calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

Answer = Callable[[Any], Any | Awaitable[Any]]


class Linked:
    """One of several workers. It reaches the others that are in `others`, except those that hang."""

    def __init__(self, number: int, all_of_them: dict[int, Linked]) -> None:
        self.number = number
        self.hangs = False
        self.restarts = 0
        self.siblings: Sequence[int] = ()
        self.others: Sequence[int] = ()
        self.changed: list[Callable[[], object]] = []
        self.told: list[tuple[str, Any]] = []
        self._hear: dict[str, Callable[[int, Any], object]] = {}
        self._answers: dict[str, Answer] = {}
        self._all = all_of_them
        all_of_them[number] = self

    def connect(self, *others: int) -> None:
        self.others = others
        for call in self.changed:
            call()

    def tell(self, topic: str, value: Any) -> None:
        self.told.append((topic, value))
        for other in self.others:
            self._all[other]._hear[topic](self.number, value)

    def when_told(self, topic: str, hear: Callable[[int, Any], object]) -> None:
        self._hear[topic] = hear

    async def ask(self, topic: str, value: Any = None) -> Sequence[tuple[int, Any]]:
        reached = [self._all[other] for other in self.others]
        return [(peer.number, await peer.answer(topic, value)) for peer in reached if not peer.hangs]

    async def answer(self, topic: str, value: Any) -> Any:
        given = self._answers[topic](value)
        return await given if isinstance(given, Awaitable) else given

    def when_asked(self, topic: str, answer: Answer) -> None:
        self._answers[topic] = answer


def linked(count: int, siblings: int = 0) -> list[Linked]:
    """So many workers that are connected, of a server that has `siblings` workers, or no others."""
    everybody: dict[int, Linked] = {}
    found = [Linked(number, everybody) for number in range(1, count + 1)]
    for peer in found:
        peer.siblings = [number for number in range(1, max(count, siblings) + 1) if number != peer.number]
        peer.others = [other.number for other in found if other is not peer]
    return found
