"""Where a server's options come from: flags, then variables, then the file, then defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from roomcast.model.settings import OPTIONS, Settings, with_caps
from roomcast.model.settings.file import load
from roomcast.model.settings.option import Option

_INSTEAD = {"secret": "secret_files", "secret_files": "secret"}
"""Options of which one stands for the other: whichever is given first leaves no place for it."""


class Configuration:
    """The options of a server. Flags and variables are what they were at its start; the file can be read again."""

    def __init__(self, flags: Mapping[str, Any], variables: Mapping[str, str], path: str | None) -> None:
        """`flags` are those that were given, by the names of their options; `path` is the file, or None.

        Reads the file. Raises `BadOption`."""
        self.path = path
        self._given = _given(flags, variables)
        values = self._values()
        self.settings = Settings(**values)
        """What the server was started with."""
        self._chosen = frozenset(values)

    def chose(self, name: str) -> bool:
        """Whether somebody gave this option a value, be it that of the default."""
        return name in self._chosen

    def read_again(self) -> Settings:
        """The settings as the file gives them now. Blocks. Raises `BadOption`, and then none of it counts."""
        return Settings(**self._values())

    def _values(self) -> dict[str, Any]:
        return with_caps(_over(load(self.path) if self.path else {}, self._given))


def _given(flags: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    on_line = {name: OPTIONS[name].from_flag(given) for name, given in flags.items()}
    set_too = {
        name: option.from_variable(text)
        for name, option in OPTIONS.items()
        if not _covered(name, on_line) and (text := _variable(option, variables)) is not None
    }
    return _over(set_too, on_line)


def _over(lower: Mapping[str, Any], higher: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in lower.items() if not _covered(name, higher)} | dict(higher)


def _covered(name: str, higher: Mapping[str, Any]) -> bool:
    return name in higher or _INSTEAD.get(name) in higher


def _variable(option: Option, variables: Mapping[str, str]) -> str | None:
    text = variables.get(option.variable)
    # What Kubernetes puts into every container beside a service named roomcast is no port number.
    foreign = option.name == "port" and text is not None and text.startswith("tcp://")
    return None if foreign or (text == "" and not option.means_something_empty()) else text
