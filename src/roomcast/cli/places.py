"""Where in a configuration somebody's rights stand."""

from __future__ import annotations

from collections.abc import Mapping

from roomcast.auth.keys import answers_for
from roomcast.auth.principal import Principal
from roomcast.model.settings import OPTIONS, Settings
from roomcast.model.settings.file import read
from roomcast.model.settings.statements import line_in_row, line_of


class Places:
    """The lines of a file, and what is given past it."""

    def __init__(self, path: str | None, settings: Settings, variables: Mapping[str, str]) -> None:
        """Reads the file. `variables` are the environment's, which go before it. Raises `BadOption`."""
        self._path = path
        self._text = read(path) if path else ""
        self._variable = OPTIONS["anonymous"].variable if OPTIONS["anonymous"].variable in variables else None
        self._rows = [answers_for(row) for row in settings.keys]

    def of(self, asking: Principal, verb: str | None) -> str:
        """Who this is, and the line that says what they may do; that of `verb`, where one is asked about."""
        if asking.by is None:
            return f"{self._anonymous()}somebody without a credential"
        line = line_in_row("key", self._rows.index(asking.by), None if asking.ticket else verb, self._text)
        key = f"{self._path}, line {line}: [[key]] {asking.by.name}"
        return f"{key}: its ticket" if asking.ticket else key

    def _anonymous(self) -> str:
        if self._variable:
            return f"{self._variable}: "
        try:
            return f"{self._path}, line {line_of('anonymous', self._text)}: "
        except ValueError:  # nothing gives it
            return ""
