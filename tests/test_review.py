"""The source is readable by the measures of `tests.review`: what is public says how it is used."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

from tests.review import FOLDER, Named, is_complete, public_names
from tests.workers import ONE_PROCESS

TREES = {path.relative_to(FOLDER).as_posix(): ast.parse(path.read_text()) for path in sorted(FOLDER.rglob("*.py"))}
DESCRIBING_JSON = ("client/", "model/shapes.py")
"""These classes describe the server's JSON, and have the names of the server's own types."""


def test_each_public_name_says_what_it_takes_and_what_it_raises() -> None:
    incomplete = [
        f"{path}:{name.lineno} {name.name}" if isinstance(name, Named) else f"{path}: the module"
        for path, tree in TREES.items()
        for name in public_names(tree)
        if not is_complete(name)
    ]
    assert incomplete == []


def test_each_class_of_the_server_has_a_name_of_its_own() -> None:
    files = defaultdict(list)
    for path, tree in TREES.items():
        if not path.startswith(DESCRIBING_JSON):
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    files[node.name].append(path)
    assert {name: found for name, found in files.items() if len(found) > 1} == {}


def test_each_test_that_needs_one_process_exists() -> None:
    """A renamed one would run with workers, and fail."""
    for test in ONE_PROCESS:
        file, _, name = test.partition("::")
        assert f"def {name}(" in (Path(__file__).parent / file).read_text()
