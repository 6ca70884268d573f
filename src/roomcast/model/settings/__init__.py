"""Every option of the server, declared once. Its row gives the flag, the environment variable, the name in the
`--config` file, the help, the keyword of `roomcast.app`, and the name that the docs must contain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from roomcast.model.retention import MANY_BYTES, MANY_MESSAGES, Retention
from roomcast.model.settings import issuer, key, machine
from roomcast.model.settings.anonymous import AnonymousGrants
from roomcast.model.settings.cookie import parse_cookie_name
from roomcast.model.settings.issuer import Issuer
from roomcast.model.settings.key import Key
from roomcast.model.settings.kinds import (
    Checked,
    Choice,
    Count,
    CountOrAuto,
    Kind,
    Paths,
    Rate,
    Repeated,
    Seconds,
    Size,
    Switch,
    Text,
)
from roomcast.model.settings.network import parse_network
from roomcast.model.settings.option import Option, options_of
from roomcast.model.settings.origin import parse_origin
from roomcast.model.settings.revoked import RevokedRow
from roomcast.model.settings.room import MAX_AGE, RoomRow
from roomcast.model.settings.section import Section, sections_of

X_FORWARDED_FOR, FORWARDED = "x-forwarded-for", "forwarded"
"""Headers in which a proxy gives its client's address: the usual one, and that of RFC 7239."""
SYNCHRONOUS = ("full", "normal", "off")
"""The ways in which SQLite may wait for the disk (https://sqlite.org/pragma.html#pragma_synchronous)."""


def _option(default: Any, kind: Kind, group: str, help: str, **extra: Any) -> Any:
    return field(default=default, metadata={"kind": kind, "group": group, "help": help, **extra})


def _section(name: str, row: type, **extra: Any) -> Any:
    """A section: rows that the file gives, each under `[[name]]`, or a call as a list. No flag gives them."""
    return field(default=(), metadata={"section": {"name": name, "row": row, **extra}})


_LISTEN, _LOG, _STREAMS, _RIGHTS = "Listening", "Log", "Limits and streams", "Rights"
_BROWSERS, _OUTPUT = "Browsers", "Output"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a server. Sizes are bytes and times are seconds."""

    host: str = _option(
        "localhost",
        Text(),
        _LISTEN,
        "Address or name to listen on; localhost is 127.0.0.1 and, if there, ::1. unix:PATH is a socket file.",
    )
    port: int = _option(8080, Count(0, 65535), _LISTEN, "Port of the API and the page; 0 takes a free one.")
    page_port: int = _option(
        3000, Count(0, 65535), _LISTEN, "A second port with the same routes, for the page; 0: none."
    )
    workers: int = _option(
        1,
        CountOrAuto(1, 512),
        _LISTEN,
        "Processes that serve, beside one for the log; 1: one process does both. auto: one per core, less one.",
    )
    tls_cert: str | None = _option(
        None, Text(), _LISTEN, "File of the certificate and its chain (PEM), to serve TLS; read again at SIGHUP."
    )
    tls_key: str | None = _option(None, Text(), _LISTEN, "File of the certificate's private key (PEM).")
    trusted_proxy: tuple[str, ...] = _option(
        ("127.0.0.0/8", "::1"),
        Repeated("ADDRESS|NETWORK", parse_network),
        _LISTEN,
        "Proxy that is trusted to give the client's address; may be repeated. Peers of a socket file always are.",
    )
    forwarded_header: str = _option(
        X_FORWARDED_FOR,
        Choice(X_FORWARDED_FOR, FORWARDED),
        _LISTEN,
        "The header in which trusted proxies give the client's address; the other one is never read.",
    )
    log: str = _option(
        "sqlite:roomcast.db",
        Text(),
        _LOG,
        "Where messages are kept: sqlite:PATH, postgresql://HOST/DATABASE, mongodb://HOST/DATABASE, or memory:, "
        "which a restart empties.",
    )
    max_messages: int = _option(
        Retention().max_messages,
        Count(1, 10**12),
        _LOG,
        "Messages retained in all rooms together; the oldest go first. 1,000,000 with [[room]] rows.",
    )
    max_bytes: int = _option(
        Retention().max_bytes,
        Size(1, 10**15),
        _LOG,
        "Bytes retained, the sum of the stored bodies; the oldest go first. 1 GB with [[room]] rows.",
    )
    max_age: float | None = _option(
        None, MAX_AGE, _LOG, "Age at which a message is trimmed, such as 7d. Default: none."
    )
    synchronous: str = _option(
        "full",
        Choice(*SYNCHRONOUS),
        _LOG,
        "SQLite: full survives a power cut; normal and off do not, and after an unclean stop the log begins a "
        "new epoch.",
    )
    new_epoch: bool = _option(False, Switch(), _LOG, "Begin a new epoch: for a log that was restored from a copy.")
    max_body: int = _option(1024 * 1024, Size(1, 1024**3), _STREAMS, "Bytes of a publish request's body.")
    max_message: int = _option(
        # With its id and time, a line stays under 64 KiB, at which two Go clients give up for ever.
        64_000,
        Size(1, 1024**3),
        _STREAMS,
        "Bytes of a stored message.",
    )
    max_followers: int = _option(
        0, Count(0, 10**7), _STREAMS, "Streams at once; 0: 90 % of the process's file limit, which is the most."
    )
    max_connections_per_address: int = _option(
        0,
        Count(0, 10**7),
        _STREAMS,
        "Connections of one address (of one /64 for IPv6), streams too; 0: any. Trusted proxies are not counted.",
    )
    body_memory: int = _option(
        64 * 1024 * 1024,
        Size(1, 2**40),
        _STREAMS,
        "Memory that all requests share while they are received; beyond it the slowest sender is closed.",
    )
    answer_memory: int = _option(
        64 * 1024 * 1024,
        Size(1, 2**40),
        _STREAMS,
        "Memory that all large answers share, while built or sent; beyond it: 503.",
    )
    publish_rate: float | None = _option(
        None,
        Rate(1e6),
        _STREAMS,
        "Messages that each client's address may publish, such as 20/s or 100/m; beyond it: 429. Default: any.",
    )
    publish_burst: int = _option(
        0, Count(0, 10**9), _STREAMS, "Of these, how many may come at once; 0: as many as in ten seconds."
    )
    heartbeat: float = _option(15.0, Seconds(0.05, 3600), _STREAMS, "Longest silence on a stream.")
    slow_after: float = _option(
        30.0, Seconds(0.05, 3600), _STREAMS, "Time after which a follower that takes nothing is closed."
    )
    open: bool = _option(
        False, Switch(), _RIGHTS, "Everybody who reaches the server may read and publish in every room."
    )
    anonymous: tuple[str, ...] = _option(
        (),
        AnonymousGrants(),
        _RIGHTS,
        "What requests without a credential may do, such as read:public/*; may be repeated.",
    )
    secret_files: tuple[str, ...] = _option(
        (),
        Paths(),
        _RIGHTS,
        "File of the secret that tickets and HS256 tokens are signed with; may be repeated: the first signs, all "
        "verify. ROOMCAST_SECRET is one as text.",
        one="secret_file",
    )
    secret: str | None = field(
        default=None,
        repr=False,
        metadata={
            "kind": Checked(str),  # its errors never show the value
            "group": _RIGHTS,
            "help": "The secret that tickets and HS256 tokens are signed with, instead of a file.",
            "private": True,
        },
    )
    cookie: str | None = _option(
        None,
        Checked(parse_cookie_name),
        _RIGHTS,
        "Name of the cookie in which your application gives pages a credential, such as __Host-roomcast.",
    )
    keys: tuple[Key, ...] = _section("key", Key, check_rows=key.check_distinct)
    issuers: tuple[Issuer, ...] = _section("issuer", Issuer, check_rows=issuer.check_distinct)
    revoked: tuple[RevokedRow, ...] = _section("revoked", RevokedRow)
    room_rules: tuple[RoomRow, ...] = _section("room", RoomRow)
    allow_origin: tuple[str, ...] | None = _option(
        None,
        Repeated("ORIGIN", parse_origin),
        _BROWSERS,
        "Origin whose pages may use the API, such as https://example.com; may be repeated. *: any.",
    )
    log_format: str = _option("text", Choice("text", "json"), _OUTPUT, "How log lines are written.")
    log_level: str = _option(
        "info", Choice("debug", "info", "warning", "error"), _OUTPUT, "The lowest level that is written."
    )
    access_log: bool = _option(True, Switch(), _OUTPUT, "Write a line for each request.", negatable=True)

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Settings:
        """The settings from `values`, a call's keywords. Raises `TypeError` for an unknown option, and `BadOption`
        for a bad value."""
        for name in values:
            if name not in _BY_FIELD:
                raise TypeError(unknown_option(name))
        checked: dict[str, Any] = {name: _BY_FIELD[name].from_value(value) for name, value in values.items()}
        return cls(**with_caps(checked))

    @property
    def retention(self) -> Retention:
        """The caps of the log, with the rules for rooms."""
        rules = tuple(row.rule() for row in self.room_rules)
        return Retention(self.max_messages, self.max_bytes, self.max_age, rules)

    @property
    def worker_count(self) -> int:
        """The number of processes that serve."""
        return self.workers or max(1, machine.cores() - 1)

    @property
    def followers_limit(self) -> int:
        """Most streams at once. The other files that the process may open are for publishers and health checks."""
        possible = machine.max_followers()
        return min(self.max_followers or possible, possible)

    @property
    def connections_limit(self) -> int:
        """Most connections at once, streams included. Beyond it, those that have waited longest are closed."""
        return machine.max_connections()


OPTIONS: Mapping[str, Option] = options_of(Settings)
"""All options, by name."""
SECTIONS: Mapping[str, Section] = sections_of(Settings)
"""All sections of the file, by the name in their headers."""
_BY_FIELD: Mapping[str, Option | Section] = {**OPTIONS, **{each.field: each for each in SECTIONS.values()}}
NAME_IN_FILE: Mapping[str, str] = {name: name for name in OPTIONS} | {
    each.field: f"[[{each.name}]]" for each in SECTIONS.values()
}
"""The name of each field of the settings as it is written in the file."""


def with_caps(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `values`, with larger caps of the whole log if rooms have rules and no caps are given."""
    many = {"max_messages": MANY_MESSAGES, "max_bytes": MANY_BYTES} if values.get("room_rules") else {}
    return {**many, **values}


def unknown_option(name: str, others: Sequence[str] = ()) -> str:
    """Returns the error text for `name`, an unknown option, with a suggestion. `others` are options that the
    caller accepts besides the server's."""
    from roomcast.model.near_miss import near_miss  # late: only a mistake needs it, and its import is slow

    meant = near_miss(name.lower().removeprefix("roomcast_"), [*others, *OPTIONS, *SECTIONS], 0.6)
    hint = f"did you mean {meant}?" if meant else "`roomcast serve --help` names them all; use underscores here"
    return f"{name!r:.100} is not an option: {hint}"
