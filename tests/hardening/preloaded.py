"""Finds out which environment variables a program such as faketime sets to preload its library."""

from __future__ import annotations

import subprocess

from tests.conftest import require
from tests.running import PATIENCE


def environment(program: str, *options: str) -> dict[str, str]:
    """The environment variables that `program`, such as faketime, sets for its child."""
    command = [require(program), *options, "env"]
    plain = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    printed = subprocess.run(
        command, env=plain, check=True, capture_output=True, text=True, timeout=PATIENCE
    ).stdout
    given = dict(line.split("=", 1) for line in printed.splitlines())
    return {name: value for name, value in given.items() if name not in (*plain, "_", "PWD", "SHLVL")}
