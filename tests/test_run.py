"""tests/run.sh repeats each failed test once, alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).with_name("run.sh")
STARVED = """
from pathlib import Path
def test_starved():
    first = not Path("seen").exists()
    Path("seen").touch()
    assert not first
"""
BROKEN = "def test_broken():\n    assert False\n"


def run(folder: Path, tests: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -q\n")
    (folder / "test_some.py").write_text("def test_sound():\n    pass\n" + tests)
    env = {**os.environ, "PYTEST": str(Path(sys.executable).with_name("pytest"))}
    return subprocess.run([RUN, "-n0"], cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def test_a_test_that_passes_on_its_own_is_named_and_passes(tmp_path: Path) -> None:
    done = run(tmp_path, STARVED)
    assert done.returncode == 0, done.stdout
    assert "once more, one at a time:\n  test_some.py::test_starved\n" in done.stdout
    assert "1 passed" in done.stdout.rpartition("one at a time:")[2]


@pytest.mark.parametrize("broken", [BROKEN, "".join(BROKEN.replace("()", f"_{n}()") for n in range(11))])
def test_a_test_that_is_broken_fails_the_run(tmp_path: Path, broken: str) -> None:
    done = run(tmp_path, broken)
    assert done.returncode == 1
    assert ("once more" in done.stdout) is (broken == BROKEN)


def test_a_run_that_cannot_begin_fails(tmp_path: Path) -> None:
    assert run(tmp_path, "import nothing_of_this_name\n").returncode not in (0, 1)
