"""Counts the instructions of each operation, where its wall time is too noisy to be judged.

All operations run in one process under `valgrind --tool=callgrind`, which writes down what it counted at each
call of `getppid`, a function that nothing else here calls: so the start of Python, the imports and what an
operation needs around it are not in its count. Kernel time is not in it either.

Run as a program it stores the counts as what `tests/test_instructions.py` expects.
"""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.operations import OPERATIONS, Operation

ROOT = Path(__file__).parent.parent
STORED = ROOT / "tests/instructions.json"
COMMAND = "make instructions"
"""The command that stores new counts."""
_mark = os.getppid
_WARM = 20
"""Uncounted units before the counted ones: Python adapts a function's code to its arguments in about the first
ten calls."""
_PACKAGES = ("apsw", "msgspec")
_TOTAL = re.compile(r"^totals: (\d+)$", re.MULTILINE)

COUNTED: Sequence[Operation] = [operation for operation in OPERATIONS if operation.counted]


def interpreter() -> str:
    """The key of the stored counts: each minor version of Python uses other instructions."""
    return f"{platform.python_implementation()} {sys.version_info[0]}.{sys.version_info[1]} {platform.machine()}"


def build() -> Mapping[str, str]:
    """How this interpreter was built: an optimised one needs up to a sixth less."""
    options = re.findall(r"--(?:enable|with)[a-z-]+", sysconfig.get_config_var("CONFIG_ARGS") or "")
    return {
        "python": platform.python_version(),
        "compiler": platform.python_compiler(),
        "options": " ".join(sorted(options)),
    }


def packages() -> Mapping[str, str]:
    """The libraries that are part of an operation."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def count(valgrind: str = "valgrind", timeout: float | None = None) -> Mapping[str, int]:
    """Returns the instructions for each unit of each operation, counted by the program `valgrind` within `timeout`
    seconds (None: for ever). Raises `CalledProcessError`, whose `stderr` says why, and `TimeoutExpired`."""
    with tempfile.TemporaryDirectory() as folder:
        counts = f"{folder}/counts"
        command = [
            *(valgrind, "--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={counts}"),
            *(sys.executable, "-c", "from benchmarks import instructions; instructions.run()"),
        ]
        # Nothing of this environment goes in: its size moves the stack, its hash seed the order of sets.
        environment = {"PYTHONHASHSEED": "0", "TMPDIR": tempfile.gettempdir()}
        subprocess.run(
            command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=timeout
        )
        parts = [_total(Path(f"{counts}.{n}")) for n in range(1, len(list(Path(folder).glob("counts.*"))) + 1)]
        totals = parts[1::2]  # each operation has two marks: what was counted up to the first is not its own
        assert len(parts) == 2 * len(COUNTED), "somebody else calls getppid, too"
    return {o.name: round(total / (o.counted * o.units)) for o, total in zip(COUNTED, totals, strict=True)}


def _total(file: Path) -> int:
    [total] = _TOTAL.findall(file.read_text())
    return int(total)


def run() -> None:
    """Runs the operations under valgrind, with a mark before and after the counted part of each."""
    gc.disable()  # when it runs depends on all that was allocated before
    for operation in COUNTED:
        with operation.prepare() as call:
            for _ in range(max(2, _WARM // operation.units)):
                call()
            calls = range(operation.counted)
            _mark()
            for _ in calls:
                call()
            _mark()


def stored() -> dict[str, Any]:
    """By interpreter: its `build` and `packages`, and the `counts` by operation."""
    known: dict[str, Any] = json.loads(STORED.read_text()) if STORED.exists() else {}
    return known


def main() -> None:
    """Counts, prints the counts with their changes, and stores them."""
    known, counts = stored(), count()
    before = known.get(interpreter(), {}).get("counts", {})
    for name, new in counts.items():
        print(f"{new:9,} {change(before.get(name), new):>8}  {name}")
    known[interpreter()] = {"build": build(), "packages": packages(), "counts": counts}
    STORED.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")


def change(old: int | None, new: int | None) -> str:
    """Returns the difference of the count `new` to `old` in percent; None stands for an operation that is not
    there."""
    if old is None:
        return "new"
    return "gone" if new is None else f"{new / old - 1:+.1%}"


if __name__ == "__main__":
    main()
