"""The benchmark: roomcast and its peers under one load, in one run. `python -m benchmarks --help`."""
