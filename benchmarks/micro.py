"""The wall time of each step of the hot path by itself, so that a regression has an address: `make micro`.

The table gives the time of one call. `×1000` after a name means that one call performs 1,000 units of the kind
that the name begins with, such as deliveries. To compare two states of the code on one machine, idle otherwise:

    make micro ARGS=--benchmark-save=before
    make micro ARGS=--benchmark-compare

`tests/test_instructions.py` watches the same steps in CI, by their instructions.
"""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.operations import OPERATIONS, Operation

SECONDS = 0.5
"""Seconds for each operation: with preparation and calibration twenty take half a minute."""


@pytest.mark.benchmark(disable_gc=True, warmup=True, max_time=SECONDS)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_time(benchmark: BenchmarkFixture, operation: Operation) -> None:
    """Times an `operation` by pytest's fixture `benchmark`."""
    benchmark.group = operation.name.partition(":")[0]
    benchmark.name = operation.name + (f" ×{operation.units}" if operation.units > 1 else "")
    with operation.prepare() as call:
        benchmark(call)
