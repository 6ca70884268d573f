"""One option of the server: its flag, its variable, its name in the file, and what is said of a bad value."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from roomcast.model.errors import BadOption
from roomcast.model.settings.kinds import Kind, Repeated, RowError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """A row of the settings."""

    name: str
    """Its keyword and its name in the file: max_bytes."""
    default: Any
    kind: Kind
    group: str
    """The heading above it in the help."""
    help: str
    section: bool = False
    """Whether it can only be given by tables in the file, or by a call."""
    negatable: bool = False
    """Whether the flag has a twin that begins with --no-."""

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        return f"ROOMCAST_{self.name.upper()}"

    def from_flag(self, given: str | bool | Sequence[str]) -> Any:
        """The value that the command line gives. Raises `BadOption`."""
        try:
            if isinstance(self.kind, Repeated):
                return self.kind.parse_all(given if isinstance(given, Sequence) else ())
            return self.kind.parse(given) if isinstance(given, str) else given
        except ValueError as error:
            raise BadOption(f"{self.flag} {error}") from None

    def from_variable(self, text: str) -> Any:
        """The value that the environment gives. Raises `BadOption`."""
        try:
            return self.kind.parse(text)
        except ValueError as error:
            raise BadOption(f"{self.variable} {error}") from None

    def from_value(self, value: object) -> Any:
        """The value that a file or a call gives. Raises `BadOption`."""
        try:
            return self.kind.check(value)
        except RowError as error:
            raise BadRow(f"{self.name} {error}", error.row) from None
        except ValueError as error:
            raise BadOption(f"{self.name} {error}") from None

    def means_something_empty(self) -> bool:
        """Whether an empty variable is a value: a list without items. For the other kinds it counts as not set,
        since a compose file passes an unset variable on as an empty one."""
        return isinstance(self.kind, Repeated)


class BadRow(BadOption):
    """A mistake in one of several tables of the file."""

    def __init__(self, detail: str, row: int) -> None:
        super().__init__(detail)
        self.row = row
        """Which one, counted from 1."""


def options_of(settings: type, *, sections: bool = False) -> dict[str, Option]:
    """The rows of the class, by name: those that are sections of the file, or all others."""
    rows = (
        Option(name=field.name, default=field.default, **field.metadata) for field in dataclasses.fields(settings)
    )
    return {row.name: row for row in rows if row.section == sections}
