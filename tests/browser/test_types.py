"""TypeScript checks the types in the JSDoc of the page's modules."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "src/roomcast/page"


def test_the_modules_types_hold() -> None:
    compiler = ROOT / "tests/interop/node_modules/typescript/bin/tsc"
    if not compiler.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no TypeScript: run tests/setup.sh")
    command = [require("node"), str(compiler), "--project", str(ROOT / "tests/browser/tsconfig.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == ""
    assert done.returncode == 0


PUBLIC = re.compile(
    r"^export (?:async )?(?:function|class) \w+|^  (?:async |get )*[a-z]\w*\(.*\) \{$", re.MULTILINE
)
"""A function or class that other modules use, or a method without `#`."""
OTHERS = re.compile(r"^  (?:constructor|if|for|while|switch|return)\b")


@pytest.mark.parametrize("file", sorted({*PAGE.glob("*.js")} - {PAGE / "main.js"}), ids=lambda file: file.name)
def test_each_public_name_has_a_description(file: Path) -> None:
    script = file.read_text()
    public = [found for found in PUBLIC.finditer(script) if not OTHERS.match(found[0])]
    assert [found[0] for found in public if not _description(script[: found.start()])] == []


def _description(before: str) -> str:
    """The text of the JSDoc that ends `before`, without its tags; empty if it ends with something else."""
    _, begins, comment = before.rstrip().rpartition("/**")
    return re.split(r"@[a-z]+", comment)[0].strip("*/ \n") if begins and comment.endswith("*/") else ""
