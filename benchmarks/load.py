"""The load: compiles the C programs, runs the sink on its core, and reads its output."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.peers import Server

HERE = Path(__file__).parent
BUILD = HERE / "build"
SINK = HERE / "sink.c"
CC = os.environ.get("CC", "gcc")
FLAGS = ("-O2", "-Wall")

Figures = dict[str, float]


class Failed(Exception):
    """A failed run; its text says why."""


def build(source: Path) -> Path:
    """Compiles the C file `source` if its program is missing or older. Returns the program's path. Raises
    `SystemExit` without a compiler."""
    program = BUILD / source.stem
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        if shutil.which(CC) is None:
            raise SystemExit(f"the load and the floor are written in C: install {CC}, or name a compiler in CC")
        BUILD.mkdir(exist_ok=True)
        subprocess.run([CC, *FLAGS, "-o", str(program), str(source)], check=True)
    return program


def compiler() -> str:
    """Returns the name and version of the C compiler."""
    return subprocess.run([CC, "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]


def run(server: Server, core: int, options: Mapping[str, object], limit: float = 120) -> Figures:
    """Runs the sink once against a `server`, on one `core`, with `options` as flags. Returns its figures. Raises
    `Failed`, also after `limit` seconds."""
    with _sink(server, core, options) as sink:
        try:
            said, _ = sink.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            raise Failed(f"the load did not end within {limit:.0f} s") from None
    return _figures(said)


@contextmanager
def open_followers(server: Server, core: int, options: Mapping[str, object]) -> Iterator[Figures]:
    """Keeps the sink's followers of a `server` open as long as the block runs. The sink has one `core`, and
    `options` as flags. Yields its figures. Raises `Failed`."""
    with _sink(server, core, {**options, "hold": True}) as sink:
        assert sink.stdout is not None
        assert sink.stdin is not None
        yield _figures(sink.stdout.readline())
        sink.stdin.close()
        sink.wait(10)


@contextmanager
def _sink(server: Server, core: int, options: Mapping[str, object]) -> Iterator[subprocess.Popen[str]]:
    peer = server.peer
    given = {
        "port": server.place.port,
        "follow": peer.follow,
        "publish": peer.publish,
        "processes": ",".join(map(str, server.pids)),
        **options,
    }
    flags = [f"--{name}" if value is True else f"--{name}={value}" for name, value in given.items()]
    sink = subprocess.Popen(
        [str(build(SINK)), *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )
    try:
        yield sink
    finally:
        if sink.poll() is None:
            sink.kill()
            sink.wait()


def _figures(said: str) -> Figures:
    try:
        figures = json.loads(said)
    except ValueError:
        raise Failed(f"the load said {said[:200]!r}") from None
    if "error" in figures:
        raise Failed(figures["error"])
    return figures  # type: ignore[no-any-return]
