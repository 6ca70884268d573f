"""Measures how readable the source is: sizes of functions and files, docstrings, annotations.

    python -m tests.review [FOLDER ...]

prints a table with one column for each folder, `src/roomcast` by default. A function's lines are those from its
`def` to its end, without its docstring. A public name is a module, or a function, class or method without an
underscore in front. Its docstring is complete if it names each parameter and each error that the function raises.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

Function = ast.FunctionDef | ast.AsyncFunctionDef
Named = Function | ast.ClassDef
FOLDER = Path(__file__).parents[1] / "src/roomcast"
_COLUMNS = (
    *("functions", "median", "90th percentile", "longest", "largest file"),
    *("public names", "with docstring", "complete", "annotated"),
)


class Review(NamedTuple):
    """The figures of one folder: lengths in lines, shares from 0 to 1."""

    functions: int
    median: float
    ninetieth: int
    longest: str
    largest_file: str
    public: int
    documented: float
    complete: float
    annotated: float

    @classmethod
    def of(cls, folder: Path) -> Review:
        """The figures of all Python files below `folder`. Raises `SyntaxError` for a file that is not Python."""
        trees = {path: ast.parse(path.read_text()) for path in sorted(folder.rglob("*.py"))}
        functions = [(lines(one), path, one) for path, tree in trees.items() for one in functions_of(tree)]
        lengths = sorted(length for length, *_ in functions)
        length, path, function = max(functions, key=lambda found: found[0])
        files = {path: len(path.read_text().splitlines()) for path in trees}
        largest = max(files, key=lambda path: files[path])
        public = [name for tree in trees.values() for name in public_names(tree)]
        return cls(
            len(functions),
            statistics.median(lengths),
            lengths[len(lengths) * 9 // 10],
            f"{length} ({path.relative_to(folder)}: {function.name})",
            f"{files[largest]} ({largest.relative_to(folder)})",
            len(public),
            share(ast.get_docstring(name) is not None for name in public),
            share(is_complete(name) for name in public),
            share(is_annotated(one) for *_, one in functions),
        )

    def texts(self) -> Sequence[str]:
        """The figures as texts, in the order of the columns."""
        return [f"{value:.1%}" if isinstance(value, float) and value <= 1 else f"{value}" for value in self]


def functions_of(tree: ast.Module) -> Iterator[Function]:
    """All functions and methods of a module, nested ones too."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def lines(function: Function) -> int:
    """The number of lines of a function, without its decorators and docstring."""
    assert function.end_lineno is not None
    whole = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is None:
        return whole
    docstring = function.body[0]
    assert docstring.end_lineno is not None
    return whole - (docstring.end_lineno - docstring.lineno + 1)


def public_names(tree: ast.Module) -> Iterator[ast.Module | Named]:
    """The module itself, its public functions and classes, and the public methods of those classes."""
    yield tree
    for node in _public(tree.body):
        yield node
        if isinstance(node, ast.ClassDef):
            yield from _public(node.body)


def _public(body: Sequence[ast.stmt]) -> Iterator[Named]:
    return (
        node
        for node in body
        if isinstance(node, Named) and not node.name.startswith("_") and not _is_overload(node)
    )


def _is_overload(name: Named) -> bool:
    """Whether this only declares a type: the function that it belongs to is counted."""
    return any(isinstance(one, ast.Name) and one.id == "overload" for one in name.decorator_list)


def is_complete(name: ast.Module | Named) -> bool:
    """Whether the docstring of `name` names all parameters, and all errors that the function itself raises. A
    command needs any docstring: it is what `--help` prints, where each option has a text of its own."""
    text = ast.get_docstring(name)
    if text is None or not isinstance(name, Function) or _is_command(name):
        return text is not None
    given = [arg.arg for arg in _parameters(name) if arg.arg not in ("self", "cls")]
    return {*given, *_raised(name)} <= set(re.findall(r"\w+", text))


def _is_command(function: Function) -> bool:
    calls = [each.func for each in function.decorator_list if isinstance(each, ast.Call)]
    return any(isinstance(called, ast.Attribute) and called.attr == "command" for called in calls)


def is_annotated(function: Function) -> bool:
    """Whether all parameters of `function` and its return value have a type."""
    untyped = [arg for arg in _parameters(function) if arg.annotation is None and arg.arg not in ("self", "cls")]
    return not untyped and function.returns is not None


def _parameters(function: Function) -> Sequence[ast.arg]:
    given = function.args
    rest = [arg for arg in (given.vararg, given.kwarg) if arg is not None]
    return [*given.posonlyargs, *given.args, *given.kwonlyargs, *rest]


def _raised(function: Function) -> Iterator[str]:
    """The classes of errors. A lower-case name is a function that makes an error, and says nothing to a caller."""
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            yield from re.findall("^_*[A-Z].*", node.exc.func.id)


def share(found: Iterator[bool]) -> float:
    """The share of true values, 1 if there is none at all."""
    each = list(found)
    return sum(each) / len(each) if each else 1.0


def main() -> None:
    """Prints the figures of the folders that the command line names."""
    reviews = {folder: Review.of(folder) for folder in map(Path, sys.argv[1:] or [str(FOLDER)])}
    print("| | " + " | ".join(str(folder) for folder in reviews) + " |")
    print("| --- " * (len(reviews) + 1) + "|")
    for column, *values in zip(_COLUMNS, *(review.texts() for review in reviews.values()), strict=True):
        print(f"| {column} | " + " | ".join(values) + " |")


if __name__ == "__main__":
    main()
