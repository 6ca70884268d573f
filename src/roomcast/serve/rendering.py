"""How a log line is written: as text for a person, or as JSON. Line ends, bidirectional controls and invisible
characters are escaped in both."""

from __future__ import annotations

import json
import logging
import time
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from roomcast.http import access
from roomcast.model.message import rfc3339
from roomcast.model.redact import redacted


class Rendering(Protocol):
    """Renders lines, without the line end."""

    def request(
        self, client: str, method: str, target: str, status: int, seconds: float, principal: str, /
    ) -> str:
        """The line of a request that ends now: the `client`'s address, the `method`, the `target` (printable), the
        `status`, the duration in `seconds`, and the `principal`, empty for a stranger. A hot path, so it makes few
        calls."""

    def line(
        self, seconds: float, level: str, logger: str, message: str, fields: dict[str, Any], trace: str
    ) -> str:
        """Any other line: `seconds` is its time since 1970, `level` and `logger` are names, `message` may have any
        characters, `fields` are added in JSON only, and `trace` is a traceback, or empty."""


_BUG = ": this is a bug, please report it with its traceback"
"""Added to our own lines with a traceback. Faults that an operator can repair are logged without one."""


def rendered(rendering: Rendering, record: logging.LogRecord) -> str:
    """Renders a `record` of Python's logging by `rendering`, redacted. Never raises: a record that cannot be
    formatted gives a line that says so."""
    try:
        message, fields = redacted(record.getMessage()), getattr(record, "fields", {})
        trace = redacted(logging.Formatter().formatException(record.exc_info)) if record.exc_info else ""
        message += _BUG if trace and record.name.startswith("roomcast.") else ""
    except Exception as error:  # its arguments do not fit the format, or their `repr` fails
        message, fields, trace = f"a line that could not be written: {redacted(repr(error))}", {}, ""
    return rendering.line(record.created, record.levelname.lower(), record.name, message, fields, trace)


def escaped(text: str) -> str:
    """The text with line ends, controls and invisible characters escaped as in Python (`\\n`, `\\u202e`)."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class TextLines:
    """Lines for a person."""

    def request(
        self, client: str, method: str, target: str, status: int, seconds: float, principal: str, /
    ) -> str:
        """Time, `client`, `method`, `target`, `status`, the duration from `seconds`, and the `principal` if there
        is one."""
        line = f"{_now()} {client} {method} {target} {_status_and_duration(status, int(seconds * 10_000 + 0.5))}"
        if principal:
            line = f"{line} {principal}"
        # Checking the whole line would take a sixth of its time.
        return line if client.isprintable() and method.isprintable() and principal.isprintable() else escaped(line)

    def line(
        self, seconds: float, level: str, logger: str, message: str, fields: dict[str, Any], trace: str
    ) -> str:
        """The time from `seconds`, the `level` unless it is info, and the `message`. A `trace` follows in indented
        lines. The `logger` and the `fields` are left out."""
        mark = "" if level == "info" else f"{level}: "
        line = f"{rfc3339(int(seconds * 1000))} {mark}{escaped(message)}"
        # Indented, since an exception's text may have lines that look like ours.
        return "\n  ".join([line, *map(escaped, trace.split("\n"))]) if trace else line


class JsonLines:
    """One JSON object a line. Escapes are JSON's own, so a reader gets each field unchanged."""

    def request(
        self, client: str, method: str, target: str, status: int, seconds: float, principal: str, /
    ) -> str:
        """An object with `client`, `method`, `target`, `status` and `seconds`, and with `principal` unless it
        is empty. Its message is the text line without the time."""
        text, fields, by = _request_parts(client, method, target, principal)
        text = f"{text} {_status_and_duration(status, int(seconds * 10_000 + 0.5))}{by}"
        return (
            f'{{"time":"{_now()}","level":"info","logger":"{access.LOGGER}","message":"{text}",{fields},'
            f'"status":{status},"seconds":{seconds:.6f}}}'
        )

    def line(
        self, seconds: float, level: str, logger: str, message: str, fields: dict[str, Any], trace: str
    ) -> str:
        """An object with the time from `seconds`, with `level`, `logger`, `message` and all `fields`, and with
        `trace` unless it is empty."""
        line = {"time": rfc3339(int(seconds * 1000)), "level": level, "logger": logger, "message": message}
        return _encoded({**line, **fields, **({"trace": trace} if trace else {})})


class ProcessTextLines(TextLines):
    """Lines for a person, each with the name of its process."""

    def __init__(self, process: str) -> None:
        self._process = escaped(process)

    def request(
        self, client: str, method: str, target: str, status: int, seconds: float, principal: str, /
    ) -> str:
        """As in `TextLines`, with the process's name after the time: `client`, `method`, `target`, `status`, the
        duration from `seconds`, `principal`."""
        return self._marked(super().request(client, method, target, status, seconds, principal))

    def line(
        self, seconds: float, level: str, logger: str, message: str, fields: dict[str, Any], trace: str
    ) -> str:
        """The line of `TextLines`, with the process's name after the time. It shows `seconds`, `level`, `message`
        and `trace`, but not `logger` and `fields`."""
        return self._marked(super().line(seconds, level, logger, message, fields, trace))

    def _marked(self, line: str) -> str:
        time, _, rest = line.partition(" ")
        return f"{time} [{self._process}] {rest}"


class ProcessJsonLines(JsonLines):
    """One JSON object a line, each with the name of its process."""

    def __init__(self, process: str) -> None:
        self._process = f'{{"process":{_encoded(process)},'

    def request(
        self, client: str, method: str, target: str, status: int, seconds: float, principal: str, /
    ) -> str:
        """The object of `JsonLines`, with `process` as its first field: `client`, `method`, `target`, `status`,
        `seconds` and `principal`."""
        return self._process + super().request(client, method, target, status, seconds, principal)[1:]

    def line(
        self, seconds: float, level: str, logger: str, message: str, fields: dict[str, Any], trace: str
    ) -> str:
        """The object of `JsonLines`, with `process` as its first field: `seconds`, `level`, `logger`, `message`,
        `fields` and `trace`."""
        return self._process + super().line(seconds, level, logger, message, fields, trace)[1:]


def rendering_of(format: str, process: str) -> Rendering:
    """The rendering for a `format` (text or json); each line names the `process`, unless it is empty."""
    if format == "json":
        return ProcessJsonLines(process) if process else JsonLines()
    return ProcessTextLines(process) if process else TextLines()


_stamp = (0.0, 0.0, "")
"""Start and end of the last rendered millisecond, in seconds, and its text: at full speed thirty lines share
it."""


def _now() -> str:
    global _stamp
    now = time.time()
    first, end, text = _stamp
    if first <= now < end:
        return text
    ms = int(now * 1000)
    text = rfc3339(ms)
    _stamp = (ms / 1000, (ms + 1) / 1000, text)
    return text


@lru_cache(1024)
def _status_and_duration(status: int, tenths: int) -> str:
    """Status and duration, in tenths of a millisecond. Cached: formatting a float takes a quarter of a line's
    time."""
    return f"{status} {tenths / 10:.1f} ms"


@lru_cache(256)
def _request_parts(client: str, method: str, target: str, principal: str) -> tuple[str, str, str]:
    """Parts of a line in JSON, without quotes or braces: the message's beginning, the fields, the message's
    end."""
    fields = {"client": client, "method": method, "target": target}
    by = {"principal": principal} if principal else {}
    text, end = f"{client} {method} {target}", f" {principal}" if principal else ""
    return _encoded(text)[1:-1], _encoded({**fields, **by})[1:-1], _encoded(end)[1:-1]


def _encoded(value: object) -> str:
    try:
        encoded = msgspec.json.encode(value).decode()
    except (TypeError, UnicodeEncodeError):  # a type that JSON lacks; a lone surrogate
        encoded = "\n"
    # JSON allows line separators and bidirectional controls unescaped. A value with any of them is encoded again,
    # with everything but ASCII as \u….
    return encoded if encoded.isprintable() else json.dumps(value, default=repr)
