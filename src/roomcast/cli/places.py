"""The lines of a configuration that give a principal its rights."""

from __future__ import annotations

from collections.abc import Mapping

from roomcast.auth.keys import grantor_of
from roomcast.auth.principal import Principal
from roomcast.model.settings import OPTIONS, Settings
from roomcast.model.settings.file import read
from roomcast.model.settings.statements import line_in_row, line_of


class Places:
    """The lines of a configuration file that give rights, and the environment variables that override them."""

    def __init__(self, path: str | None, settings: Settings, variables: Mapping[str, str]) -> None:
        """Reads the file. `variables` are the environment's, which override it. Raises `BadOption`."""
        self._path = path
        self._text = read(path) if path else ""
        self._variable = OPTIONS["anonymous"].variable if OPTIONS["anonymous"].variable in variables else None
        secrets = [OPTIONS[name].variable for name in ("secret", "secret_files")]
        self._secret = next((name for name in secrets if name in variables), None)
        self._rows = [grantor_of(row) for row in settings.keys]
        self._issuers = [row.iss or "" for row in settings.issuers]

    def describe(self, principal: Principal, verb: str | None) -> str:
        """Names the `principal` and the line with its rights; with a `verb`, read or publish, the line of that
        right."""
        if principal.grantor is None:
            return f"{self._anonymous()}somebody without a credential"
        shown = None if principal.ticket else verb
        whose = " ticket" if principal.ticket else " token" if principal.kind == "token" else ""
        if not principal.grantor.digest:
            return f"{self.describe_issuer(principal.grantor.name, shown)}: its{whose} for {principal.sub}"
        line = line_in_row("key", self._rows.index(principal.grantor), shown, self._text)
        key = f"{self._path}, line {line}: [[key]] {principal.grantor.name}"
        return f"{key}: its{whose}" if whose else key

    def describe_issuer(self, iss: str, verb: str | None) -> str:
        """Names the issuer `iss` and its line; with a `verb`, read or publish, the line of that right. The
        server's own secret has an empty `iss`."""
        if iss in self._issuers:
            line = line_in_row("issuer", self._issuers.index(iss), verb, self._text)
            return f"{self._path}, line {line}: [[issuer]] {iss}".rstrip()
        if self._secret:
            return f"{self._secret}: the secret"
        return f"{self._path}, line {line_of('secret_files', self._text)}: the secret"

    def _anonymous(self) -> str:
        if self._variable:
            return f"{self._variable}: "
        try:
            return f"{self._path}, line {line_of('anonymous', self._text)}: "
        except ValueError:  # it is not configured
            return ""
