"""TypeScript checks the types in the JSDoc of the page's modules."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import require

ROOT = Path(__file__).parents[2]


def test_the_modules_types_hold() -> None:
    compiler = ROOT / "tests/interop/node_modules/typescript/bin/tsc"
    if not compiler.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no TypeScript: run tests/setup.sh")
    command = [require("node"), str(compiler), "--project", str(ROOT / "tests/browser/tsconfig.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == ""
    assert done.returncode == 0
