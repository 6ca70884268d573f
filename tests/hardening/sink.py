"""Runs the benchmark's load generator, for more followers than a Python program can be."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.conftest import require

_SOURCE = Path(__file__).parents[2] / "benchmarks/sink.c"


def build_sink(folder: Path) -> Path:
    """Compiles the program into `folder`, which belongs to one test, since tests run in parallel. Returns its
    path."""
    program = folder / "sink"
    subprocess.run([require("gcc"), "-O2", "-o", str(program), str(_SOURCE)], check=True, timeout=60)
    return program


def run_sink(program: Path, port: int, **options: float) -> dict[str, float]:
    """Runs the program to its end, checks that each follower got every message once, and returns its figures."""
    flags = [f"--{name}={value}" for name, value in options.items()]
    done = subprocess.run(
        [program, f"--port={port}", *flags], capture_output=True, text=True, timeout=90, check=False
    )
    found = json.loads(done.stdout)
    assert "error" not in found, found
    assert (found["wrong"], found["lost"], found["failed"], found["closed"]) == (0, 0, 0, 0), found
    return {name: float(value) for name, value in found.items() if name != "complaint"}
