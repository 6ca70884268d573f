"""A few thousand runs of the fuzzer. It can also run alone, for as long as one wants."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import PATIENCE

ROOT = Path(__file__).parents[2]


def test_the_fuzzer_finds_no_difference_from_the_slow_decoder(tmp_path: Path) -> None:
    pytest.importorskip("atheris", reason="there is no atheris for this machine")
    command = [sys.executable, "-m", "tests.client.fuzz", str(tmp_path), "-runs=5000", "-seed=1", "-max_len=1000"]
    fuzzed = subprocess.run(
        [*command, f"-artifact_prefix={tmp_path}/"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=6 * PATIENCE,
    )
    assert fuzzed.returncode == 0, fuzzed.stdout[-3000:] + fuzzed.stderr[-3000:]
    assert "Done 5000 runs" in fuzzed.stderr
