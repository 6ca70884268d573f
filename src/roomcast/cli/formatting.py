"""Messages, gaps and times as text for people. Other people's texts reach a terminal only with escapes."""

from __future__ import annotations

import re
import sys
import zlib
from datetime import datetime
from typing import TYPE_CHECKING

import click
import msgspec

if TYPE_CHECKING:  # commands that ask no server import no HTTP client
    from roomcast.client import Gap, Message

_DANGEROUS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move the cursor, set a title, end a line or change the direction of writing."""
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MOST_NAMED = 64
"""A gap names at most this many rooms. If it names this many, there may be more."""
_COLORS = ("green", "cyan", "magenta", "blue", "yellow", "bright_red")
"""A user always has the same colour."""


def say(text: str) -> None:
    """Prints `text` as one line on stderr, after `roomcast: `."""
    click.echo(f"roomcast: {printable(text)}", err=True)


def printable(text: str) -> str:
    """The text on one line, its control characters as escapes."""
    return _DANGEROUS.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    return _NAMED.get(match[0]) or match[0].encode("unicode_escape", "surrogatepass").decode()


def line(message: Message) -> str:
    """A message as a line for a terminal, in colours: `14:03:22 developers anna: text`."""
    user = click.style(printable(message.user), fg=_COLORS[zlib.crc32(message.user.encode()) % len(_COLORS)])
    parts = [
        click.style(local(message.timestamp), dim=True),
        click.style(printable(message.room), bold=True),
        f"{user}:",
    ]
    if message.type is not None:
        parts.append(click.style(f"[{printable(message.type)}]", fg="yellow"))
    if message.text is not None:
        parts.append(printable(message.text))
    if '"data":' in message.json and (data := _data(message.json)) is not None:
        parts.append(click.style(data, dim=True))
    return " ".join(parts)


def _data(written: str) -> str | None:
    """The message's data as it was written, null included; None if it has no data."""
    fields = _fields.decode(written)
    if "data" not in fields:
        return None
    return printable(msgspec.json.format(bytes(fields["data"]).decode(), indent=0))


def local(time: datetime) -> str:
    """The local time; with the date if that is not today."""
    here = time.astimezone()
    return f"{here:%H:%M:%S}" if here.date() == datetime.now().date() else f"{here:%Y-%m-%d %H:%M:%S}"


def as_json(row: msgspec.Struct) -> bytes:
    """Returns a `row`, a room or a follower, as the server writes it: JSON without fields that are not set."""
    fields = msgspec.structs.asdict(row).items()
    return msgspec.json.encode({name: _json_value(value) for name, value in fields if value is not msgspec.UNSET})


def _json_value(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value


def gap(found: Gap) -> str:
    """Describes the gap `found` in a sentence: how many messages may be lost, of which rooms, after which id, and
    why."""
    lost = "an unknown number of" if found.lost_at_most is None else f"at most {found.lost_at_most:,}"
    why = {
        "trimmed": "no longer retained",
        "deleted": "deleted",
        "epoch": "the log was replaced",
        "future": "the log ends before this id",
        "malformed": "the last id is none of this server's",
    }.get(found.reason, found.reason)
    since = f" after {found.after}" if found.after else ""
    return f"gap: {lost} messages of {_concerned(found)}{since} may be lost: {why}"


def _concerned(gap: Gap) -> str:
    """The rooms, or the prefixes of their names if the rooms are many or unknown."""
    if gap.prefixes and not 0 < len(gap.rooms) < _MOST_NAMED:
        return f"rooms whose names begin with {', '.join(prefix or 'anything' for prefix in gap.prefixes)}"
    return ", ".join(gap.rooms)


def in_terminal(err: bool = False) -> bool:
    """Whether stdout is a terminal; with `err`, whether stderr is."""
    return (sys.stderr if err else sys.stdout).isatty()
