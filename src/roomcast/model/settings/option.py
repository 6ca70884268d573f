"""One option of the server: its flag, its variable, its name in the file, and the errors for bad values."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from roomcast.model.errors import BadOption
from roomcast.model.settings.kinds import Kind, Repeated


@dataclasses.dataclass(frozen=True, kw_only=True)
class Option:
    """A row of the settings."""

    name: str
    """Its keyword and its name in the file, such as max_bytes."""
    default: Any
    """Its value if nothing gives one. It is not checked."""
    kind: Kind
    group: str
    """The heading above it in the help."""
    help: str
    negatable: bool = False
    """Whether there is a second flag that begins with --no-."""
    one: str = ""
    """The singular of `name`, for the flag and the variable, if each gives one value and the file a list."""
    private: bool = False
    """Whether only a variable or a call can give it: everybody on the machine sees flags, and files get copied."""

    @property
    def flag(self) -> str:
        """Its flag, or its variable if it has no flag."""
        return self.variable if self.private else f"--{(self.one or self.name).replace('_', '-')}"

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"ROOMCAST_{(self.one or self.name).upper()}"

    def from_flag(self, given: str | bool | Sequence[str]) -> Any:
        """Returns the value that the command line gives. `given` is a text, for a switch a bool, and for a
        repeated flag a sequence of texts. Raises `BadOption`."""
        try:
            if isinstance(self.kind, Repeated):
                return self.kind.parse_all(given if isinstance(given, Sequence) else ())
            return self.kind.parse(given) if isinstance(given, str) else given
        except ValueError as error:
            raise BadOption(f"{self.flag} {error}") from None

    def from_variable(self, text: str) -> Any:
        """Returns the value that the variable's `text` gives. Raises `BadOption`."""
        try:
            return self.kind.parse(text)
        except ValueError as error:
            raise BadOption(f"{self.variable} {error}") from None

    def from_value(self, value: object) -> Any:
        """Returns `value`, which a file or a call gives, checked. Raises `BadOption`."""
        try:
            return self.kind.check(value)
        except ValueError as error:
            raise BadOption(f"{self.name} {error}") from None

    def accepts_empty(self) -> bool:
        """Whether an empty variable is a value: a list without items. For the other kinds it counts as not set,
        since a compose file passes an unset variable on as an empty one."""
        return isinstance(self.kind, Repeated)


def options_of(settings: type) -> dict[str, Option]:
    """Returns the options that the dataclass `settings` declares, by name."""
    return {
        field.name: Option(name=field.name, default=field.default, **field.metadata)
        for field in dataclasses.fields(settings)
        if "kind" in field.metadata
    }
