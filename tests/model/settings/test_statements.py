"""The line of a file that sets a name, whatever stands before it."""

from __future__ import annotations

import tomllib

import pytest

from roomcast.model.settings.statements import line_in_row, line_of


@pytest.mark.parametrize(
    ("before", "line"),
    [
        ("", 1),
        ("\n# here = 1\n  ", 3),
        ('a = """\nhere = 1\n"""\n', 4),
        ('a = """two quotes: "" and then\nhere = 1 \\""""""\n', 3),
        ("a = '''\nhere = 1 '\n'''''\n", 4),
        ('a = "#" # "\n', 2),
        ("a = 'it\\' # '\n", 2),
        ('a = "\\"" # \'\n', 2),
        ('a = """one quote: """"\n', 2),
        ("# it's [\n", 2),
        ("a = [\n  1, # ]\n  2,\n]\n", 5),
        ('a = [\n  "]", [ "here = 1" ],\n]\n', 4),
        ("a = { b = 1, here = 2 }\n", 2),
        ("b.here = 1\n", 2),
        ('"a = \\"here" = 1\n', 2),
        ("a = 1\r\nb = 2\r\n", 3),
        ('a = ""\nb = \'\'\nc = """"""\n', 4),
        ("a = 1979-05-27 07:32:00\n", 2),
    ],
)
@pytest.mark.parametrize(
    "name", ["here = 3", '"here" = 3', "'here'.x = 3", "here = [\n3]", "[here]", "[[here]]\n[[here]]"]
)
def test_the_line_of_a_name_is_found(before: str, line: int, name: str) -> None:
    text = f"{before}{name}"
    assert "here" in tomllib.loads(text)
    assert line_of("here", text) == line


def test_a_name_in_a_section_is_not_taken_for_one_at_the_top() -> None:
    text = "[a]\nhere = 1\n[b.here]\n[here]\n"
    assert line_of("here", text) == 4
    assert line_of("b", text) == 3


ROWS = """port = 1
[[a]]
x = 1
y = [
2]
[a.z]
x = 3
[[b]]
x = 4
[[a.z.deep]]
x = 5
[[a]] # the second
"x" = 6
[c]
x = 7
"""


@pytest.mark.parametrize(
    ("section", "index", "name", "line"),
    [
        ("a", 0, None, 2),
        ("a", 0, "x", 3),
        ("a", 0, "y", 4),
        ("a", 0, "z", 6),
        ("a", 0, "nothing", 2),
        ("a", 1, None, 12),
        ("a", 1, "x", 13),
        ("b", 0, "x", 9),
    ],
)
def test_the_line_of_a_column_is_found_in_its_row(section: str, index: int, name: str | None, line: int) -> None:
    tomllib.loads(ROWS.replace("[[a.z.deep]]", "[[d]]"))
    assert line_in_row(section, index, name, ROWS.replace("[[a.z.deep]]", "[[d]]")) == line


def test_a_row_in_a_value_is_told_with_the_line_of_the_value() -> None:
    assert line_in_row("a", 1, "x", "\na = [\n{x = 1},\n{x = 2}]\n") == 2
