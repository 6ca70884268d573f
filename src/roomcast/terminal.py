"""Drawing on a terminal: columns of text, and lines that the next ones replace.

It imports nothing else of roomcast: the attacker (`roomcast torture`) uses it, and shares no code with the server.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from typing import TextIO

_COLUMNS, _ROWS = 80, 24
"""The size of a terminal that does not know its own."""


class Screen:
    """Lines in a terminal that the next ones replace. Shows nothing if the file is not a terminal."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.is_terminal = file.isatty()
        self._drawn = 0

    def show(self, lines: Sequence[str]) -> None:
        """Draws the lines in the place of the last ones, cut to the terminal's size."""
        if self.is_terminal:
            columns, rows = os.get_terminal_size(self._file.fileno())
            # A line that the terminal wraps, or one that it scrolls away, could not be replaced.
            fitting = [cut(line, (columns or _COLUMNS) - 1) for line in lines[: (rows or _ROWS) - 1]]
            back = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
            print(back + "".join(f"{line}\n" for line in fitting), end="", file=self._file, flush=True)
            self._drawn = len(fitting)

    def clear(self) -> None:
        """Removes the lines."""
        self.show([])


def width(text: str) -> int:
    """Columns of the text in a terminal: two for an East Asian character, none for a combining accent."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.category(character) in ("Mn", "Me", "Cf") for character in text)


def cut(text: str, columns: int) -> str:
    """The beginning of the text that is at most `columns` wide."""
    while width(text) > columns:
        text = text[: columns if len(text) > columns else -1]
    return text


def aligned(rows: Sequence[Sequence[str]], *, numbers: bool = False) -> list[str]:
    """The rows of a table as lines; with `numbers` all cells but the first of a row are aligned on the right."""
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_cells(row, widths, numbers)).rstrip() for row in rows]


def _cells(row: Sequence[str], widths: Sequence[int], numbers: bool) -> list[str]:
    cells = zip(row, [columns - width(cell) for cell, columns in zip(row, widths, strict=True)], strict=True)
    return [
        f"{' ' * left}{cell}" if numbers and n else f"{cell}{' ' * left}" for n, (cell, left) in enumerate(cells)
    ]
