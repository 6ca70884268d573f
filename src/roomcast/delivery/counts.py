"""Counts of this process that the other workers of its server need: all of them, or the changed ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Counts:
    """Counts by name. Changes are recorded once somebody has asked for them."""

    def __init__(self) -> None:
        self._changed: set[str] | None = None
        self._numbers: dict[str, int] = {}

    def set(self, name: str, number: int) -> None:
        """Sets the present count of `name` to `number`."""
        if number:
            self._numbers[name] = number
        else:
            self._numbers.pop(name, None)
        if self._changed is not None:
            self._changed.add(name)

    def changes(self) -> Mapping[str, int]:
        """The counts that have changed since the last call of this or of `all`."""
        changed, self._changed = self._changed, set()
        return {name: self._numbers.get(name, 0) for name in changed or ()}

    def all(self) -> Mapping[str, int]:
        """All counts."""
        self._changed = set()
        return dict(self._numbers)


class ComputedCount:
    """A single count, computed when it is asked for."""

    def __init__(self, compute: Callable[[], int]) -> None:
        """`compute` returns the count."""
        self._compute = compute
        self._told = 0

    def changes(self) -> Mapping[str, int]:
        """The count, if it has changed since the last call."""
        return {} if self._compute() == self._told else self.all()

    def all(self) -> Mapping[str, int]:
        """The count."""
        self._told = self._compute()
        return {"": self._told}
