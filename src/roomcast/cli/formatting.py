"""What is said to people: messages as lines, gaps, times. Others' texts never reach a terminal as they are."""

from __future__ import annotations

import re
import sys
import unicodedata
import zlib
from datetime import datetime

import click
import msgspec

from roomcast.client import Gap, Message

_DANGEROUS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What moves a cursor, sets a title, ends a line or turns the direction of what stands behind it."""
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_MOST_NAMED = 64
"""As many rooms as a gap names: there may be more."""
_COLORS = ("green", "cyan", "magenta", "blue", "yellow", "bright_red")
"""Of users: each always has the same one."""


def say(text: str) -> None:
    """One line on stderr."""
    click.echo(f"roomcast: {printable(text)}", err=True)


def printable(text: str) -> str:
    """The text on one line, its control characters as escapes."""
    return _DANGEROUS.sub(_escaped, text)


def width(text: str) -> int:
    """Columns that a terminal gives it: two for an East Asian character, none for an accent of its own."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.category(character) in ("Mn", "Me", "Cf") for character in text)


def padded(text: str, columns: int) -> str:
    """With spaces up to so many columns."""
    return text + " " * (columns - width(text))


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
    """The message's data as it was written, also where it is null; None where it has none."""
    fields = _fields.decode(written)
    if "data" not in fields:
        return None
    return printable(msgspec.json.format(bytes(fields["data"]).decode(), indent=0))


def local(time: datetime) -> str:
    """The time of day here; with its date where that is another one."""
    here = time.astimezone()
    return f"{here:%H:%M:%S}" if here.date() == datetime.now().date() else f"{here:%Y-%m-%d %H:%M:%S}"


def gap(found: Gap) -> str:
    """A gap as a sentence."""
    lost = "an unknown number of" if found.lost_at_most is None else f"at most {found.lost_at_most:,}"
    why = {
        "trimmed": "no longer retained",
        "deleted": "deleted",
        "epoch": "the log is a new one",
        "future": "the log has lost its end",
        "malformed": "the last id is none of this server's",
    }.get(found.reason, found.reason)
    since = f" after {found.after}" if found.after else ""
    return f"gap: {lost} messages of {_concerned(found)}{since} may be lost: {why}"


def _concerned(gap: Gap) -> str:
    """The rooms; where they are many, or not known, what their names begin with."""
    if gap.prefixes and not 0 < len(gap.rooms) < _MOST_NAMED:
        return f"rooms whose names begin with {', '.join(prefix or 'anything' for prefix in gap.prefixes)}"
    return ", ".join(gap.rooms)


def in_terminal(err: bool = False) -> bool:
    """Whether somebody looks."""
    return (sys.stderr if err else sys.stdout).isatty()
