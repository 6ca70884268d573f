"""The page for operators lists every warning and error that the server logs, with what to do."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomcast.http.connections import Connections
from roomcast.model.settings import Settings
from roomcast.serve import minute

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/operate.md").read_text()
_LOGGERS = {"logger", "_log", "audit"}
_LEVELS = {"warning", "error", "exception", "critical"}


def logged(tree: ast.Module) -> Iterator[str]:
    """The texts of a module's warnings and errors; a name stands for a constant of the module."""
    constants = {
        node.targets[0].id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(logger), attr=level), args=[text, *_]) if (
                logger in _LOGGERS and level in _LEVELS
            ):
                yield str(constants[text.id] if isinstance(text, ast.Name) else ast.literal_eval(text))


def shown(text: str) -> str:
    """As the page shows it: `…` stands for what differs."""
    return re.sub(r"%(\.\d+)?[srdf]|\{[^}]*\}", "…", text)


def texts() -> Iterator[str]:
    for file in sorted((ROOT / "src/roomcast").rglob("*.py")):
        yield from logged(ast.parse(file.read_text()))
    yield from (*minute.COUNTED.values(), *minute.MEASURED.values())
    for text in Connections(Settings(), Counter())._texts().values():
        yield re.sub(r"\d+", "…", text)


LOGGED = {*map(shown, texts())} - {"…"}


@pytest.mark.parametrize("text", sorted(LOGGED))
def test_the_page_lists_each_warning(text: str) -> None:
    assert f"`{text}`" in PAGE


def test_the_page_lists_no_warning_that_is_gone() -> None:
    [section] = re.findall(r"### Each warning\n(.*?)(?=\n## |\Z)", PAGE, re.DOTALL)
    listed = re.findall(r"^\| `(.*?)` \|", section, re.MULTILINE)
    assert len(listed) > 30
    made_up = {"refused: …", "… lines are missing here", "in the last minute: …"}
    assert set(listed) - LOGGED - made_up == set()
