"""Every option of the server, once: from a row come the flag, the environment variable, the name in the file of
`--config`, the help, the keyword of `roomcast.app`, and what the docs must name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from roomcast.model.retention import MANY_BYTES, MANY_MESSAGES, Retention, RoomRule
from roomcast.model.settings.kinds import Choice, Count, Kind, Repeated, Seconds, Size, Switch, Text
from roomcast.model.settings.network import parse_network
from roomcast.model.settings.option import Option, options_of
from roomcast.model.settings.origin import parse_origin
from roomcast.model.settings.rules import MAX_AGE, Rules

X_FORWARDED_FOR, FORWARDED = "x-forwarded-for", "forwarded"
"""Headers in which a proxy gives its client's address: the usual one, and that of RFC 7239."""
SYNCHRONOUS = ("full", "normal", "off")
"""The ways in which SQLite may wait for the disk (https://sqlite.org/pragma.html#pragma_synchronous)."""
_OTHER_FILES = 64
"""At least so many are not for followers, where the limit is low: the server has some 20 open itself, and
publishers need theirs."""


def _option(default: Any, kind: Kind, group: str, help: str, **extra: Any) -> Any:
    return field(default=default, metadata={"kind": kind, "group": group, "help": help, **extra})


_LISTEN, _LOG, _STREAMS, _BROWSERS, _OUTPUT = "Listening", "Log", "Limits and streams", "Browsers", "Output"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a server is run with. Sizes are bytes and times are seconds."""

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
    tls_cert: str | None = _option(
        None, Text(), _LISTEN, "File of the certificate and its chain (PEM), to serve TLS; read again at SIGHUP."
    )
    tls_key: str | None = _option(None, Text(), _LISTEN, "File of the certificate's private key (PEM).")
    trusted_proxy: tuple[str, ...] = _option(
        ("127.0.0.0/8", "::1"),
        Repeated("ADDRESS|NETWORK", parse_network),
        _LISTEN,
        "Proxy whose word on the client's address is taken; may be repeated. Peers of a socket file always are.",
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
        "Where messages are kept: sqlite:PATH, mongodb://HOST/DATABASE, or memory:, which forgets.",
    )
    max_messages: int = _option(
        Retention().max_messages,
        Count(1, 10**12),
        _LOG,
        "Messages retained in all rooms together; the oldest go first. 1,000,000 where [[room]] rows are.",
    )
    max_bytes: int = _option(
        Retention().max_bytes,
        Size(1, 10**15),
        _LOG,
        "Bytes retained, the sum of the stored bodies; the oldest go first. 1 GB where [[room]] rows are.",
    )
    max_age: float | None = _option(
        None, MAX_AGE, _LOG, "Time after which a message goes, such as 7d; none: it may become as old as it likes."
    )
    room: tuple[RoomRule, ...] = _option(
        (), Rules(), _LOG, "Caps that hold for each matching room by itself.", section=True
    )
    synchronous: str = _option(
        "full",
        Choice(*SYNCHRONOUS),
        _LOG,
        "SQLite: full survives a power cut; normal and off do not, and after an unclean stop ids go on "
        "under a new epoch.",
    )
    new_epoch: bool = _option(
        False, Switch(), _LOG, "Go on under a new epoch: for a log that was restored from a copy."
    )
    max_body: int = _option(1024 * 1024, Size(1, 1024**3), _STREAMS, "Bytes of a publish request's body.")
    max_message: int = _option(
        # With its id and time a line stays under 64 KiB, at which two Go clients give up for ever.
        64_000,
        Size(1, 1024**3),
        _STREAMS,
        "Bytes of a stored message.",
    )
    max_followers: int = _option(
        0, Count(0, 10**7), _STREAMS, "Streams at once; 0: 90 % of the process's file limit."
    )
    answer_memory: int = _option(
        64 * 1024 * 1024,
        Size(1, 2**40),
        _STREAMS,
        "Memory for all large answers together, being built or on their way; beyond it: 503.",
    )
    heartbeat: float = _option(15.0, Seconds(0.05, 3600), _STREAMS, "Time of silence on a stream at most.")
    slow_after: float = _option(
        30.0, Seconds(0.05, 3600), _STREAMS, "Time after which a follower that takes nothing is closed."
    )
    allow_origin: tuple[str, ...] = _option(
        ("*",),
        Repeated("ORIGIN", parse_origin),
        _BROWSERS,
        "Origin whose pages may use the API, such as https://example.com; may be repeated. *: any.",
    )
    log_format: str = _option("text", Choice("text", "json"), _OUTPUT, "How log lines are written.")
    log_level: str = _option(
        "info", Choice("debug", "info", "warning", "error"), _OUTPUT, "The least that is written."
    )
    access_log: bool = _option(True, Switch(), _OUTPUT, "Write a line for each request.", negatable=True)

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Settings:
        """The settings that a call gives by name. Raises `TypeError` for a name that is no option, and `BadOption`
        for a value that one cannot have."""
        for name in values:
            if name not in KNOWN:
                raise TypeError(unknown(name))
        return cls(**with_caps({name: KNOWN[name].from_value(value) for name, value in values.items()}))

    @property
    def retention(self) -> Retention:
        return Retention(self.max_messages, self.max_bytes, self.max_age, self.room)

    @property
    def followers_limit(self) -> int:
        """How many streams at once."""
        import resource  # late: where there is none, as on Windows, a client can still be imported

        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return self.max_followers or max(1, min(files * 9 // 10, files - _OTHER_FILES))


OPTIONS: Mapping[str, Option] = options_of(Settings)
"""The rows of the settings, by name."""
SECTIONS: Mapping[str, Option] = options_of(Settings, sections=True)
"""Those that are tables in the file of `--config`, and neither a flag nor a variable."""
KNOWN: Mapping[str, Option] = {**OPTIONS, **SECTIONS}


def with_caps(values: Mapping[str, Any]) -> dict[str, Any]:
    """Where rooms have rules, the whole log has caps that leave space for them, unless some are given."""
    many = {"max_messages": MANY_MESSAGES, "max_bytes": MANY_BYTES} if values.get("room") else {}
    return {**many, **values}


def unknown(name: str) -> str:
    """The sentence about a name that is no option, with the one that was probably meant."""
    from roomcast.model.near_miss import near_miss  # late: only a mistake needs it, and it takes its time

    meant = near_miss(name.lower().removeprefix("roomcast_"), list(OPTIONS), 0.6)
    hint = f"did you mean {meant}?" if meant else "`roomcast serve --help` names them all, here with underscores"
    return f"{name!r:.100} is not an option: {hint}"
