"""A server's options: from flags, then variables, then the file, then defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roomcast.model.settings import OPTIONS, Settings, with_caps
from roomcast.model.settings.file import load
from roomcast.model.settings.option import Option

_INSTEAD = {"secret": "secret_files", "secret_files": "secret"}
"""Pairs of options that exclude each other: an option overrides its counterpart from a lower source. The sources
are flags, variables and the file, from the highest to the lowest."""


class Configuration:
    """The options of a server. Flags and variables stay as at its start; the file can be read again."""

    def __init__(self, flags: Mapping[str, Any], variables: Mapping[str, str], path: str | None) -> None:
        """Reads the file `path`, if it is not None. `flags` are those that were given, by option name; `variables`
        is the environment. Raises `BadOption`."""
        self.path = path
        self._given = _given(flags, variables)
        values = self._values()
        self.settings = Settings(**values)
        """The options at the start of the server."""
        self._names_given = frozenset(values)

    def is_given(self, name: str) -> bool:
        """Whether the option `name` was given a value at the start, even if that is the default."""
        return name in self._names_given

    def read_again(self) -> Settings:
        """The settings with what the file says now. Blocks. Raises `BadOption`."""
        return Settings(**self._values())

    def _values(self) -> dict[str, Any]:
        return with_caps(_over(load(self.path) if self.path else {}, self._given))


def _given(flags: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    from_flags = {name: OPTIONS[name].from_flag(given) for name, given in flags.items()}
    from_variables = {
        name: option.from_variable(text)
        for name, option in OPTIONS.items()
        if not _covered(name, from_flags) and (text := _variable(option, variables)) is not None
    }
    return _over(from_variables, from_flags)


def _over(lower: Mapping[str, Any], higher: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in lower.items() if not _covered(name, higher)} | dict(higher)


def _covered(name: str, higher: Mapping[str, Any]) -> bool:
    return name in higher or _INSTEAD.get(name) in higher


def _variable(option: Option, variables: Mapping[str, str]) -> str | None:
    text = variables.get(option.variable)
    # Kubernetes sets ROOMCAST_PORT=tcp://… in every container if a service is named roomcast.
    foreign = option.name == "port" and text is not None and text.startswith("tcp://")
    return None if foreign or (text == "" and not option.accepts_empty()) else text
