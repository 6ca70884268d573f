"""Every option of the server, once: from a row come the flag, the environment variable, the help, the keyword
of `roomcast.app`, and what the docs must name."""

from __future__ import annotations

import resource
from dataclasses import dataclass, field
from typing import Any

from roomcast.model.retention import Retention

_OTHER_FILES = 64
"""At least so many are not for followers, where the limit is low: the server has some 20 open itself, and
publishers need theirs."""


def _option(default: Any, group: str, help: str, **extra: Any) -> Any:
    return field(default=default, metadata={"group": group, "help": help, **extra})


_LISTEN, _LOG, _STREAMS, _BROWSERS, _OUTPUT = "Listening", "Log", "Limits and streams", "Browsers", "Output"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a server is run with."""

    host: str = _option(
        "localhost", _LISTEN, "Address or name to listen on; localhost is 127.0.0.1 and, if there, ::1."
    )
    port: int = _option(8080, _LISTEN, "Port of the API and the page; 0 takes a free one.", range=(0, 65535))
    page_port: int = _option(
        3000, _LISTEN, "A second port with the same routes, for the page; 0: none.", range=(0, 65535)
    )
    log: str = _option(
        "sqlite:roomcast.db",
        _LOG,
        "Where messages are kept: sqlite:PATH, mongodb://HOST/DATABASE, or memory:, which forgets.",
    )
    max_messages: int = _option(
        Retention().max_messages,
        _LOG,
        "Messages retained in all rooms together; the oldest go first.",
        range=(1, 10**12),
    )
    max_bytes: int = _option(
        Retention().max_bytes,
        _LOG,
        "Bytes retained, the sum of the stored bodies; the oldest go first.",
        range=(1, 10**15),
    )
    synchronous: str = _option(
        "full",
        _LOG,
        "SQLite: full survives a power cut; normal and off do not, and after an unclean stop ids go on "
        "under a new epoch.",
        choices=("full", "normal", "off"),
    )
    new_epoch: bool = _option(False, _LOG, "Go on under a new epoch: for a log that was restored from a copy.")
    max_body: int = _option(1024 * 1024, _STREAMS, "Bytes of a publish request's body.", range=(1, 1024**3))
    max_message: int = _option(64 * 1024, _STREAMS, "Bytes of a stored message.", range=(1, 1024**3))
    max_followers: int = _option(
        0, _STREAMS, "Streams at once; 0: 90 % of the process's file limit.", range=(0, 10**7)
    )
    heartbeat: float = _option(15.0, _STREAMS, "Seconds of silence on a stream at most.", range=(0.05, 3600))
    slow_after: float = _option(
        30.0, _STREAMS, "Seconds after which a follower that takes nothing is closed.", range=(0.05, 3600)
    )
    allow_origin: tuple[str, ...] = _option(
        ("*",), _BROWSERS, "Origin whose pages may use the API; may be repeated. *: any.", metavar="ORIGIN"
    )
    log_format: str = _option("text", _OUTPUT, "How log lines are written.", choices=("text", "json"))
    log_level: str = _option(
        "info", _OUTPUT, "The least that is written.", choices=("debug", "info", "warning", "error")
    )
    access_log: bool = _option(True, _OUTPUT, "Write a line for each request.", negatable=True)

    @property
    def retention(self) -> Retention:
        return Retention(self.max_messages, self.max_bytes)

    @property
    def followers_limit(self) -> int:
        """How many streams at once."""
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return self.max_followers or max(1, min(files * 9 // 10, files - _OTHER_FILES))
