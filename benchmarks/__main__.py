"""Runs the benchmark: for each row, in each round, one server after the other."""

from __future__ import annotations

import argparse
import datetime
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import load, machine, results, table
from benchmarks.load import Failed
from benchmarks.peers import PEERS, Peer
from benchmarks.results import Result, Round, Rounds
from benchmarks.rows import MAIN, MONGODB, ROWS, Row
from benchmarks.work import Bench
from roomcast.model.file_limit import raise_file_limit

QUICK = {"seconds": 0.6, "share": 0.2, "settle": 0.1, "patience": 5.0}
"""A run of a minute: it shows that everything works. Do not quote its figures."""


def main() -> int:
    """Runs what the command line asks for, and prints and writes the results. Returns the exit status: 1 if
    `--check` found a missed target, 130 after Ctrl-C."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that every server is ended
    raise_file_limit()
    load.BUILD.mkdir(exist_ok=True)
    peers = _installed(arguments.only or ((*MAIN, MONGODB) if arguments.quick else tuple(PEERS)))
    rows = [
        row
        for row in ROWS
        if row.key in arguments.rows or (not arguments.rows and (arguments.long or not row.long))
    ]
    server_core, load_core = machine.cores()
    bench = Bench(server_core, load_core, **(QUICK if arguments.quick else {"seconds": arguments.seconds}))
    about = _about(peers, arguments.quick, arguments.rounds)
    os.sched_setaffinity(0, {load_core})  # away from the server
    print(table.heading(about), "\n", flush=True)
    began, done, stopped = time.monotonic(), list[Result](), False
    try:
        for row in rows:
            done.append(_run(row, peers, bench, 1 if row.long else arguments.rounds))
            print(table.block(done[-1]), flush=True)
    except KeyboardInterrupt:
        _progress("")
        print("stopped; the finished rows are written", file=sys.stderr)
        stopped = True
    results.write(arguments.json, {**about, "seconds": round(time.monotonic() - began)}, done)
    print(table.summary(done))
    print(f"{time.monotonic() - began:.0f} s; {arguments.json} has every round")
    if arguments.quick:
        print("--quick: small and once. It shows that everything works; its figures are not to be quoted.")
    if stopped:
        return 130
    return 1 if arguments.check and any(result.missed for result in done) else 0


def _run(row: Row, peers: dict[str, Peer], bench: Bench, rounds: int) -> Result:
    """The rounds are interleaved: a change on the machine affects all peers alike."""
    taken: Rounds = {name: [] for name in row.peers if name in peers}
    for turn in range(rounds):
        for name in taken:
            _progress(f"{row.key}: {PEERS[name].label}, {turn + 1} of {rounds}")
            taken[name].append(_measure(row, peers[name], bench))
    _progress("")
    return Result(row, taken)


def _measure(row: Row, peer: Peer, bench: Bench) -> Round:
    try:
        return row.work.measure(peer, bench)
    except (Failed, RuntimeError, OSError) as error:
        return {"error": str(error)}


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _installed(names: Sequence[str]) -> dict[str, Peer]:
    """The installed peers. Prints how to install the others."""
    missing = {name: how for name in names if (how := PEERS[name].missing())}
    for name, how in missing.items():
        print(f"LEFT OUT: {PEERS[name].label} is not installed. To have it: {how}")
    for name in PEERS.keys() - set(names):
        print(f"left out: {PEERS[name].label}, not asked for")
    return {name: PEERS[name] for name in names if name not in missing}


def _about(peers: dict[str, Peer], quick: bool, rounds: int) -> dict[str, Any]:
    return {
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quick": quick,
        "rounds": rounds,
        "commit": _commit(),
        "machine": machine.describe(),
        "versions": {name: peer.version() for name, peer in peers.items()},
        "labels": {name: peer.label for name, peer in peers.items()},
    }


def _commit() -> str:
    """The measured commit of roomcast; with a plus if files were changed since."""
    git = ["git", "-C", str(load.HERE), "describe", "--always", "--abbrev=12", "--dirty=+"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _names(known: Sequence[str]) -> Any:
    def names(text: str) -> tuple[str, ...]:
        given = tuple(text.split(","))
        if unknown := set(given) - set(known):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: the known are {', '.join(known)}")
        return given

    return names


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute: a fifth of the size, one round")
    parser.add_argument("--long", action="store_true", help="also the row of ten minutes, once for each log")
    parser.add_argument("--rounds", type=int, help="how often (default: 3, with --quick 1)")
    parser.add_argument("--seconds", type=float, default=6, help="how long a run publishes (default: 6)")
    parser.add_argument(
        "--rows",
        type=_names([row.key for row in ROWS]),
        default=(),
        metavar="ROW,…",
        help=", ".join(row.key for row in ROWS),
    )
    parser.add_argument("--only", type=_names(list(PEERS)), default=(), metavar="PEER,…", help=", ".join(PEERS))
    parser.add_argument(
        "--json",
        type=Path,
        default=load.BUILD / "bench.json",
        metavar="FILE",
        help="where all figures go (default: %(default)s)",
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 3)
    return arguments


if __name__ == "__main__":
    sys.exit(main())
