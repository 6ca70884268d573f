"""Lines on a terminal that the next ones replace."""

from __future__ import annotations

import os
import pty
import struct
import termios
from collections.abc import Iterator
from fcntl import ioctl

import pytest

from roomcast.terminal import Screen, aligned, cut, width


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A pseudo-terminal of 10 columns and 3 rows: the test's end, and the program's."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 3, 10, 0, 0))
    yield ours, theirs
    os.close(ours)
    os.close(theirs)


def test_a_drawing_replaces_the_last_one_and_fits_into_the_terminal(terminal: tuple[int, int]) -> None:
    ours, theirs = terminal
    with open(theirs, "w", closefd=False) as file:
        screen = Screen(file)
        screen.show(["0123456789", "入入入入入", "one row too many"])
        screen.show(["b"])
        screen.clear()
        file.write("end")
    drawn = b""
    while not drawn.endswith(b"end"):  # a terminal gives what was written in pieces
        drawn += os.read(ours, 1000)
    assert drawn.decode() == "012345678\r\n入入入入\r\n\x1b[2F\x1b[Jb\r\n\x1b[1F\x1b[Jend"


def test_a_file_gets_no_drawing() -> None:
    read, write = os.pipe()
    with open(write, "w") as file:
        Screen(file).show(["a"])
    assert os.read(read, 10) == b""
    os.close(read)


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("入", 2), ("e\u0301", 1), ("", 0)])
def test_the_width_of_a_text_is_that_in_a_terminal(text: str, columns: int) -> None:
    assert width(text) == columns
    assert cut(text, columns) == text


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows = [("room", "messages"), ("入", "7")]
    assert aligned(rows) == ["room  messages", "入    7"]
    assert aligned(rows, numbers=True) == ["room  messages", "入           7"]
