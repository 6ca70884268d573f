"""Sections of the configuration. A section is a list of rows with the same columns, each under `[[name]]` in the
file.

A row is a frozen dataclass whose fields are its columns. `Settings` has a field for each section.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from roomcast.model.errors import BadOption
from roomcast.model.settings.kinds import Kind, described

Row = Any
"""A dataclass of columns."""


def column(kind: Kind, default: Any = dataclasses.MISSING) -> Any:
    """Returns a dataclass field for a column whose values are of this `kind`. A column without a `default` must be
    given."""
    return dataclasses.field(default=default, metadata={"kind": kind})


class BadRow(BadOption):
    """A row of a section is not valid."""

    def __init__(self, detail: str, index: int = 0, name: str | None = None) -> None:
        super().__init__(detail)
        self.index = index
        """The row's number in its section, counted from 0."""
        self.name = name
        """The column that is wrong; None if it is the row as a whole."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Section:
    """The declaration of a section: its names and its rows' columns."""

    field: str
    """Its name in `Settings` and as a keyword, such as keys."""
    name: str
    """Its name in the file, such as key for `[[key]]`."""
    row: type
    """The dataclass of a row."""
    check_rows: Callable[[tuple[Any, ...]], None] | None = None
    """Checks rows that are each valid. Raises `ValueError` if the last one conflicts with the others, and `BadRow`
    if another one is wrong because there are others."""

    def from_value(self, value: object) -> tuple[Row, ...]:
        """Returns the rows that a file gives as tables, or a call as rows. Raises `BadRow`, which names the bad
        row, and `BadOption` if `value` is not a list."""
        if not isinstance(value, list | tuple):
            raise BadOption(f"{self.name} must be rows: write [[{self.name}]] above each, not {described(value)}")
        rows: list[Row] = []
        for index, given in enumerate(value):
            rows.append(self._row(index, given))
            self._check_rows(index, rows)
        return tuple(rows)

    def _row(self, index: int, given: object) -> Row:
        if isinstance(given, self.row):
            given = {each.name: getattr(given, each.name) for each in dataclasses.fields(self.row)}
            given = {name: value for name, value in given.items() if value is not None}
        if not isinstance(given, Mapping):
            raise BadRow(f"[[{self.name}]] must be a table, not {described(given)}", index)
        values = {name: self._value(index, str(name), value) for name, value in given.items()}
        columns = {each.name: each for each in dataclasses.fields(self.row)}
        for name, each in columns.items():
            if each.default is dataclasses.MISSING and name not in values:
                raise BadRow(f"[[{self.name}]] needs {name}", index)
        try:
            return self.row(**values)
        except ValueError as error:
            raise BadRow(f"[[{self.name}]] {error}", index) from None

    def _value(self, index: int, name: str, value: object) -> Any:
        columns = {each.name: each.metadata["kind"] for each in dataclasses.fields(self.row)}
        if name not in columns:
            from roomcast.model.near_miss import near_miss  # late: only a mistake needs it

            meant = near_miss(name, list(columns), 0.6)
            # The columns of this section come before those that it shares with others.
            known = sorted(columns, key=lambda each: each not in self.row.__annotations__)
            hint = f"did you mean {meant}?" if meant else f"it has {', '.join(known)}"
            raise BadRow(f"{name!r:.100} is not a column of [[{self.name}]]: {hint}", index, name)
        try:
            return columns[name].check(value)
        except ValueError as error:
            raise BadRow(f"[[{self.name}]] {name} {error}", index, name) from None

    def _check_rows(self, index: int, rows: list[Row]) -> None:
        try:
            if self.check_rows:
                self.check_rows(tuple(rows))
        except ValueError as error:
            raise BadRow(f"[[{self.name}]] {error}", index) from None


def sections_of(settings: type) -> dict[str, Section]:
    """Returns the sections that the dataclass `settings` declares, by their names in the file."""
    found = [
        Section(field=field.name, **field.metadata["section"])
        for field in dataclasses.fields(settings)
        if "section" in field.metadata
    ]
    return {section.name: section for section in found}
