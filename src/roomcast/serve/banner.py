"""The banner that a server prints when it has started, and the log line that sums up the start."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Sequence
from typing import Any

from roomcast.auth.grants import Grants
from roomcast.auth.guard import Guard, Mode
from roomcast.auth.rights import ConfiguredRights
from roomcast.log.base import Log
from roomcast.model.errors import LogUnavailable
from roomcast.model.settings import Settings
from roomcast.serve.listen import Endpoint
from roomcast.version import __version__

logger = logging.getLogger("roomcast.server")

_SHOWN = 5
"""How many grants, or issuers, are named."""
_EXAMPLE = '{"text": "was geht ab in buxtehude?", "room": "developers"}'


async def contents(log: Log) -> str:
    """Describes the `log` for the banner: its name, and how much of its limits is used, or why it cannot be
    read."""
    try:
        bounds = await log.bounds()
    except LogUnavailable as error:
        return f"{log.name}, away: {error.detail}"
    limits = log.retention
    messages = f"{bounds.messages} of {limits.max_messages} messages"
    return f"{log.name}, {messages}, {bounds.bytes} of {limits.max_bytes} bytes"


def banner(settings: Settings, endpoints: Sequence[Endpoint], guard: Guard, log: str, workers: int = 1) -> str:
    """Returns what is printed when the server has started, in lines: the version, how to post and follow, the
    page's address, the rights, and the log.

    `endpoints` are the port of the API and, last, that of the page; for a socket file there is no line for the
    page, which a browser could not open. `settings` and `guard` are those in force, `log` is the text of
    `contents`. The number of `workers` is a line only if there are several."""
    api, page = (_address(settings, endpoint) for endpoint in (endpoints[0], endpoints[-1]))
    path = endpoints[0].path
    curl = f"curl --unix-socket {shlex.quote(path)}" if path else "curl"
    follow = f"{api}/messages?room=developers"
    lines = [
        f"roomcast {__version__}",
        f"  post    {curl} -X POST -H 'Content-Type: application/json' -d '{_EXAMPLE}' {api}/messages",
        f"  follow  {curl} -N '{follow}'" if path else f"  follow  {follow}",
        "" if path else f"  look    {page}/?room=developers",
        f"  rights  {_rights(guard)}",
        f"  log     {log}",
        f"  workers {workers}" if workers > 1 else "",
    ]
    return "\n".join(filter(None, lines))


def log_start(settings: Settings, endpoints: Sequence[Endpoint], guard: Guard, log: str, workers: int = 1) -> None:
    """Logs in one line everything that an operator may later want to know of this start. Takes the arguments of
    `banner`: `settings`, `endpoints`, `guard`, the `log` in words, and the number of `workers`."""
    rate = settings.publish_rate
    fields: dict[str, Any] = {
        "version": __version__,
        "at": _address(settings, endpoints[0]),
        "rights": _rights(guard),
        "log": log,
        "followers_limit": settings.followers_limit,
        "connections_limit": settings.connections_limit,
        "publish_rate": "any" if rate is None else f"{rate:g}/s",
        "answer_memory": settings.answer_memory,
        "workers": workers,
        "process": os.getpid(),
    }
    said = "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in fields.items() if name != "version")
    logger.info("roomcast %s serves %s", __version__, said, extra={"fields": fields})


def _rights(guard: Guard) -> str:
    rights = guard.rights
    if guard.mode is Mode.LOCAL:
        return "this machine alone reads and publishes, every room"
    if guard.mode is Mode.OPEN:
        return "everybody reads and publishes, every room"
    strangers = [f"{verb} {_listed(grants)}" for verb, grants in _of_strangers(rights)]
    return f"strangers {' and '.join(strangers)}; {_holders(rights)}"


def _of_strangers(rights: ConfiguredRights) -> Sequence[tuple[str, Grants]]:
    return [("read", rights.anonymous.read), ("publish to", rights.anonymous.publish)]


def _listed(grants: Grants) -> str:
    return _named(grants.texts())


def _named(texts: Sequence[str]) -> str:
    more = [f"{len(texts) - _SHOWN} more"] if len(texts) > _SHOWN else []
    return ", ".join([*texts[:_SHOWN], *more]) or "nothing"


def _holders(rights: ConfiguredRights) -> str:
    keys = f"keys of {', '.join(sorted({key.name for key in rights.keys}))}" if rights.keys else "no keys"
    tickets = "tickets" if rights.secrets else "no secret for tickets"
    return "; ".join([keys, tickets, *_tokens(rights)])


def _tokens(rights: ConfiguredRights) -> Sequence[str]:
    if rights.issuers is None:
        return ["tokens need `pip install 'roomcast[jwt]'`"] if rights.secrets else []
    return [f"tokens of {_named([issuer.grantor.name or 'the secret' for issuer in rights.issuers])}"]


def _address(settings: Settings, endpoint: Endpoint) -> str:
    scheme = "https" if settings.tls_cert else "http"
    if endpoint.path:
        return f"{scheme}://localhost"
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return f"{scheme}://{host}:{endpoint.port}"
