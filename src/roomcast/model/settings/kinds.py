"""The kinds of values that options take. Each kind reads text (a flag or a variable) and values (the file or a
call).

A bad value raises a `ValueError` whose text continues a sentence that begins with the option's name: "must be …,
not …".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from roomcast.model.settings.units import A_RATE, A_SIZE, A_TIME, parse_rate, parse_seconds, parse_size

_COUNT = re.compile(r"-?[0-9]{1,18}")
_SWITCH = {
    **dict.fromkeys(("1", "true", "yes", "on", "t", "y"), True),
    **dict.fromkeys(("0", "false", "no", "off", "f", "n"), False),
}

_SLOWEST = 1 / 86_400
"""The least rate: one a day. Buckets are in memory, so the process would end before a slower rate allows a second
message; and the interval of 1e-310 a second is more than a float can hold."""
_SHOWN = {
    "dict": "a table",
    "list": "a list",
    "tuple": "a list",
    "NoneType": "nothing",
    **dict.fromkeys(("date", "datetime", "time"), "a date or time"),
}


class Kind:
    """One kind of value."""

    metavar: str | None = None
    """The placeholder for the value in the help."""

    def parse(self, text: str) -> Any:
        """Returns the value of `text`, which a flag or a variable gives. Raises `ValueError`."""
        return self.check(text)

    def check(self, value: object) -> Any:
        """Returns `value`, which the file or a call gives, checked. Raises `ValueError`."""
        raise NotImplementedError


class Text(Kind):
    """Text that is not empty and has no control characters, since no name, path or address has any."""

    metavar = "TEXT"

    def check(self, value: object) -> str:
        """Returns `value` unchanged. Raises `ValueError` if it is not such a text."""
        if not isinstance(value, str):
            raise ValueError(f"must be text, not {described(value)}{_quoted(value)}")
        if not value:
            raise ValueError("must not be empty")
        if not all(ord(character) >= 32 and ord(character) != 127 for character in value):
            raise ValueError(f"must have no control characters, as {described(value)} has")
        return value


class Checked(Kind):
    """Text with a check of its own."""

    metavar = "TEXT"

    def __init__(self, parse: Callable[[str], str]) -> None:
        self._parse = parse

    def check(self, value: object) -> str:
        """Returns what its own check makes of `value`, a text. Raises `ValueError`."""
        if not isinstance(value, str):
            raise ValueError(f"must be text, not {described(value)}{_quoted(value)}")
        return self._parse(value)


class Choice(Kind):
    """One of a fixed set of words."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.metavar = f"[{'|'.join(words)}]"

    def check(self, value: object) -> str:
        """Returns `value` if it is one of the words. Raises `ValueError` if it is not."""
        if value not in self.words:
            raise ValueError(f"must be {' or '.join(self.words)}, not {described(value)}")
        return str(value)


class Switch(Kind):
    """On or off."""

    def parse(self, text: str) -> bool:
        """Returns whether `text` is a word for on, such as true or 1, in any case. Raises `ValueError` for a text
        that is neither on nor off."""
        value = _SWITCH.get(text.lower())
        if value is None:
            raise ValueError(f"must be true or false, not {described(text)}")
        return value

    def check(self, value: object) -> bool:
        """Returns `value`, a bool. Raises `ValueError` for any other value, also for a word."""
        if not isinstance(value, bool):
            raise ValueError(f"must be true or false, not {described(value)}")
        return value


@dataclass(frozen=True)
class Count(Kind):
    """A whole number."""

    minimum: int
    maximum: int
    metavar = "INTEGER"

    def parse(self, text: str) -> int:
        """Returns the number that `text` spells in decimal digits. Raises `ValueError`."""
        return self.check(int(text) if _is_number(text) else text)

    def check(self, value: object) -> int:
        """Returns `value`, an integer from `minimum` to `maximum`. Raises `ValueError`, also for text."""
        if not isinstance(value, int) or isinstance(value, bool) or not self.minimum <= value <= self.maximum:
            hint = ", which is text: write it without quotes" if _is_number(value) else ""
            raise ValueError(
                f"must be a whole number from {self.minimum} to {self.maximum}, not {described(value)}{hint}"
            )
        return value


@dataclass(frozen=True)
class CountOrAuto(Count):
    """A whole number, or `auto`, which is 0."""

    metavar = "INTEGER|auto"

    def parse(self, text: str) -> int:
        """Returns 0 if `text` is auto; otherwise as `Count`."""
        return 0 if text == "auto" else super().parse(text)

    def check(self, value: object) -> int:
        """Returns 0 if `value` is auto; otherwise as `Count`. Raises `ValueError`."""
        if value == "auto":
            return 0
        try:
            return super().check(value)
        except ValueError as error:
            raise ValueError(f"{error}".replace(", not ", ", or auto, not ", 1)) from None


@dataclass(frozen=True)
class Size(Kind):
    """A number of bytes."""

    minimum: int
    maximum: int
    metavar = "SIZE"

    def parse(self, text: str) -> int:
        """Returns the size in `text`, in bytes. Raises `ValueError`."""
        return self._within(parse_size(text), text)

    def check(self, value: object) -> int:
        """Returns `value`, in bytes; a text is parsed. Raises `ValueError`."""
        if isinstance(value, str):
            return self.parse(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"must be {A_SIZE}, not {described(value)}")
        return self._within(value, value)

    def _within(self, size: int, given: object) -> int:
        if not self.minimum <= size <= self.maximum:
            raise ValueError(f"must be a size from {self.minimum} to {self.maximum} bytes, not {described(given)}")
        return size


@dataclass(frozen=True)
class Seconds(Kind):
    """A duration in seconds."""

    minimum: float
    maximum: float
    metavar = "TIME"

    def parse(self, text: str) -> float:
        """Returns the duration in `text`, in seconds. Raises `ValueError`."""
        return self._within(parse_seconds(text), text)

    def check(self, value: object) -> float:
        """Returns `value`, in seconds; a text is parsed. Raises `ValueError`."""
        if isinstance(value, str):
            return self.parse(value)
        # `_within` refuses NaN only because of how its comparison is written: every comparison with NaN is false.
        if (number := _finite(value)) is None:
            raise ValueError(f"must be {A_TIME}, not {described(value)}")
        return self._within(number, value)

    def _within(self, seconds: float, given: object) -> float:
        if not self.minimum <= seconds <= self.maximum:
            raise ValueError(
                f"must be a time from {self.minimum:g} to {self.maximum:g} seconds, not {described(given)}"
            )
        return seconds


@dataclass(frozen=True)
class Rate(Kind):
    """A rate: a number of times per second, minute, hour or day, one a day at least. The value is times per
    second."""

    maximum: float
    metavar = "RATE"

    def parse(self, text: str) -> float:
        """Returns the rate in `text`, per second. Raises `ValueError`."""
        return self._within(parse_rate(text), text)

    def check(self, value: object) -> float:
        """Returns `value`, per second; a text is parsed. Raises `ValueError`."""
        if isinstance(value, str):
            return self.parse(value)
        if (number := _finite(value)) is None:
            raise ValueError(f"must be {A_RATE}, not {described(value)}")
        return self._within(number, value)

    def _within(self, rate: float, given: object) -> float:
        if not _SLOWEST <= rate <= self.maximum:
            raise ValueError(f"must be a rate from 1/d to {self.maximum:.0f}/s, not {described(given)}")
        return rate


class Repeated(Kind):
    """Any number of texts: a repeated flag, words in a variable, a list in the file."""

    def __init__(self, metavar: str, parse: Callable[[str], str]) -> None:
        self.metavar = metavar
        self._parse = parse

    def parse(self, text: str) -> tuple[str, ...]:
        """Returns the words of `text`, each checked. Raises `ValueError`."""
        return self.parse_all(text.split())

    def parse_all(self, texts: Sequence[str]) -> tuple[str, ...]:
        """Returns the value of a flag that was given any number of times, with `texts`. An empty text adds
        nothing; alone, it gives an empty list. Raises `ValueError`."""
        return tuple(self._parse(text) for text in texts if text)

    def check(self, value: object) -> tuple[str, ...]:
        """Returns the items of `value`, a list of texts, each checked. Raises `ValueError`."""
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            hint = f": write [{described(value)}]" if isinstance(value, str) else ""
            raise ValueError(f"must be a list of texts, not {described(value)}{hint}")
        return tuple(map(self._parse, value))


class Paths(Repeated):
    """Paths of files. A variable gives one, which may have spaces."""

    def __init__(self) -> None:
        super().__init__("FILE", Text().check)

    def parse(self, text: str) -> tuple[str, ...]:
        """Returns the path `text` alone; nothing if it is empty. Raises `ValueError`."""
        return self.parse_all([text])


def described(value: object) -> str:
    """Returns `value` as an error shows it: text and numbers as they are written, any other value by its type."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value[:200])
    if isinstance(value, int) and value.bit_length() > 64:
        return "a number so large"  # Python refuses to write one of 5,000 digits
    if isinstance(value, int | float):
        return str(value)
    kind = type(value).__name__
    return _SHOWN.get(kind, f"a value of type {kind}")


def _finite(value: object) -> float | None:
    """The number `value`; None if it is none, or no finite float: the file may have whole numbers of any size."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _is_number(value: object) -> bool:
    return isinstance(value, str) and _COUNT.fullmatch(value) is not None


def _quoted(value: object) -> str:
    return f': write "{described(value)}"' if isinstance(value, int | float) else ""
