"""What this process counts and other workers of its server want to know: all of it, or what has changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Counts:
    """By name; it is noted which of them have changed, once somebody asks for that."""

    def __init__(self) -> None:
        self._changed: set[str] | None = None
        self._numbers: dict[str, int] = {}

    def set(self, name: str, number: int) -> None:
        """So many are there now."""
        if number:
            self._numbers[name] = number
        else:
            self._numbers.pop(name, None)
        if self._changed is not None:
            self._changed.add(name)

    def changes(self) -> Mapping[str, int]:
        """What has changed since this, or `all`, was asked last."""
        changed, self._changed = self._changed, set()
        return {name: self._numbers.get(name, 0) for name in changed or ()}

    def all(self) -> Mapping[str, int]:
        """All of them."""
        self._changed = set()
        return dict(self._numbers)


class Number:
    """One count, looked at when somebody asks for it."""

    def __init__(self, look: Callable[[], int]) -> None:
        self._look = look
        self._told = 0

    def changes(self) -> Mapping[str, int]:
        """It, where it has changed since it was asked for last."""
        return {} if self._look() == self._told else self.all()

    def all(self) -> Mapping[str, int]:
        """It."""
        self._told = self._look()
        return {"": self._told}
