"""The servers under test: how each is started and used, what it promises, and how to install it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import holders, load, machine
from tests.mongodb.database import BINARY, REAL

SERVERS = Path(__file__).parent / "servers"
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or "nginx"
NCHAN = Path("/usr/lib/nginx/modules/ngx_nchan_module.so")
STRACE = ("strace", "-f", "--seccomp-bpf", "-ttt", "-e", "trace=fdatasync,fsync", "-o")


@dataclass(frozen=True)
class Place:
    """Where one server runs."""

    folder: Path
    """A folder of its own, on the disk that durable publishes are measured on; empty at first."""
    port: int
    replay: Path | None = None
    """Bytes that the floor writes to new followers."""


@dataclass(frozen=True)
class Peer:
    """A server under test."""

    name: str
    label: str
    durable: str
    """In a word or two, whether an acknowledged publish survives."""
    command: Callable[[Place], Sequence[str]]
    version: Callable[[], str]
    missing: Callable[[], str]
    """How to install missing programs; empty if none are missing."""
    follow: str = "/messages?room={room}"
    publish: str = "/messages?room={room}"
    replay: str = ""
    """The path for a new follower that wants everything retained; empty if there is no history."""


@dataclass(frozen=True)
class Server:
    """A running peer."""

    peer: Peer
    place: Place
    pid: int

    @property
    def pids(self) -> list[int]:
        """Its processes."""
        return machine.family(self.pid)


def _floor(place: Place) -> Sequence[str]:
    replay = [str(place.replay)] if place.replay else []
    return [str(load.build(SERVERS / "floor.c")), str(place.port), *replay]


def _synced_floor(place: Place) -> Sequence[str]:
    return [str(load.build(SERVERS / "floor.c")), str(place.port), "--sync", str(place.folder / "synced")]


def _nchan(place: Place) -> Sequence[str]:
    text = (SERVERS / "nchan.conf").read_text()
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    user = "user root;" if os.geteuid() == 0 else ""
    for name, value in {"port": place.port, "folder": place.folder, "files": files, "user": user}.items():
        text = text.replace(f"{{{name}}}", str(value))
    conf = place.folder / "nginx.conf"
    conf.write_text(text)
    return [NGINX, "-p", str(place.folder), "-e", str(place.folder / "error.log"), "-c", str(conf)]


def _under_uvicorn(app: str) -> Callable[[Place], Sequence[str]]:
    def command(place: Place) -> Sequence[str]:
        options = ["--port", str(place.port), "--no-access-log", "--log-level", "warning", "--loop", "uvloop"]
        return [sys.executable, "-m", "uvicorn", app, *options]

    return command


def _roomcast(log: str, *more: str, wrapper: Sequence[str] = ()) -> Callable[[Place], Sequence[str]]:
    """roomcast with default settings and its access log, and `more` options."""

    def command(place: Place) -> Sequence[str]:
        options = ["--port", str(place.port), "--page-port", "0", "--log", log, *more]
        return [*wrapper, sys.executable, "-m", "roomcast", "serve", *options]

    return command


def _by_rights(log: str) -> Callable[[Place], Sequence[str]]:
    """roomcast with keys and a secret; requests without a credential may do everything."""

    def command(place: Place) -> Sequence[str]:
        return _roomcast(log, "--config", str(holders.configured(place.folder)))(place)

    return command


def _on_mongodb(url: str) -> Callable[[Place], Sequence[str]]:
    """With the options that the tests' database needs."""

    def command(place: Place) -> Sequence[str]:
        options = ["--port", str(place.port), "--page-port", "0", "--log", url]
        return [sys.executable, "-m", "tests.mongodb.serve", "serve", *options]

    return command


def _packages(*names: str) -> Callable[[], str]:
    return lambda: ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)


def _without_package(name: str) -> str:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"pip install {name}, or all of them: pip install -e '.[bench]'"
    return ""


def _nchan_version() -> str:
    said = subprocess.run([NGINX, "-v"], capture_output=True, text=True, check=True).stderr.strip()
    query = ["dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan"]
    module = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    return f"nchan {module or 'unknown'}, {said.partition(': ')[2]}"


def _without_nchan() -> str:
    return "" if NCHAN.exists() and shutil.which(NGINX) else "apt-get install nginx-light libnginx-mod-nchan"


def _nothing() -> str:
    return ""


_EVERYTHING = "/messages?room={room}&replay=all"
_UVICORN = ("starlette", "uvicorn", "uvloop")

PEERS = {
    peer.name: peer
    for peer in (
        Peer(
            name="floor",
            label="C floor",
            durable="no, keeps nothing",
            command=_floor,
            version=load.compiler,
            missing=_nothing,
            replay="/replay",
        ),
        Peer(
            name="floor-synced",
            label="C floor, synced",
            durable="yes, a sync each",
            command=_synced_floor,
            version=load.compiler,
            missing=_nothing,
        ),
        Peer(
            name="nchan",
            label="Nchan",
            durable="no, in memory",
            command=_nchan,
            version=_nchan_version,
            missing=_without_nchan,
            follow="/follow?room={room}",
            publish="/publish?room={room}",
            replay="/replay?room={room}",
        ),
        Peer(
            name="roomcast",
            label="roomcast (memory)",
            durable="no, in memory",
            command=_roomcast("memory:"),
            version=_packages("roomcast", "h11", "uvloop"),
            missing=_nothing,
            publish="/messages",
            replay=_EVERYTHING,
        ),
        Peer(
            name="roomcast-sqlite",
            label="roomcast (SQLite)",
            durable="yes, synced",
            command=_roomcast("sqlite:bench.db"),
            version=_packages("roomcast", "apsw", "h11", "uvloop"),
            missing=_nothing,
            publish="/messages",
            replay=_EVERYTHING,
        ),
        *(
            Peer(
                name=f"{name}-quiet",
                label=f"{label}, no access log",
                durable=durable,
                command=_roomcast(log, "--no-access-log"),
                version=_packages("roomcast"),
                missing=_nothing,
                publish="/messages",
            )
            for name, label, durable, log in (
                ("roomcast", "roomcast (memory)", "no, in memory", "memory:"),
                ("roomcast-sqlite", "roomcast (SQLite)", "yes, synced", "sqlite:bench.db"),
            )
        ),
        Peer(
            name="roomcast-rights",
            label="roomcast with rights (memory)",
            durable="no, in memory",
            command=_by_rights("memory:"),
            version=_packages("roomcast"),
            missing=_nothing,
            publish="/messages",
        ),
        Peer(
            name="roomcast-mongodb",
            label="roomcast (MongoDB)",
            durable="as its database",
            command=_on_mongodb("mongodb://localhost/bench"),
            version=lambda: (
                f"{_packages('roomcast', 'pymongo')()}, on {'a server' if REAL else 'FerretDB 1.24.2'}"
            ),
            missing=lambda: "" if REAL or BINARY.exists() else "tests/mongodb/build.sh",
            publish="/messages",
        ),
        Peer(
            name="sse-starlette",
            label="sse-starlette",
            durable="no, keeps nothing",
            command=_under_uvicorn("benchmarks.servers.with_sse_starlette:app"),
            version=_packages("sse-starlette", *_UVICORN),
            missing=lambda: _without_package("sse-starlette"),
        ),
        Peer(
            name="fastapi",
            label="FastAPI's SSE",
            durable="no, keeps nothing",
            command=_under_uvicorn("benchmarks.servers.with_fastapi:app"),
            version=_packages("fastapi", *_UVICORN),
            missing=lambda: _without_package("fastapi"),
        ),
    )
}


def traced(peer: Peer) -> Peer:
    """Returns the `peer` as roomcast on SQLite, whose syncs are recorded in the file `strace` beside its log."""
    command = _roomcast("sqlite:bench.db", wrapper=(*STRACE, "strace"))
    return dataclasses.replace(peer, command=command, missing=_without_strace)


def on_database(peer: Peer, url: str) -> Peer:
    """Returns the `peer` as roomcast on the database at `url`; several on one database serve the same log."""
    return dataclasses.replace(peer, command=_on_mongodb(url))


def _without_strace() -> str:
    return "" if shutil.which("strace") else "apt-get install strace"


@contextmanager
def running(peer: Peer, core: int | None, replay: Path | None = None) -> Iterator[Server]:
    """Runs the `peer` on a free port, in a folder of its own, on one `core`, or on all (None). `replay` is a file
    that the floor writes to new followers. Raises `RuntimeError` if it does not start."""
    cores = range(os.cpu_count() or 1) if core is None else {core}
    with tempfile.TemporaryDirectory(prefix=f"{peer.name}-", dir=load.BUILD) as folder:
        place = Place(Path(folder), free_port(), replay)
        with (place.folder / "output").open("wb") as output:
            process = subprocess.Popen(
                peer.command(place),
                cwd=folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we end it by its id
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
        try:
            _wait_until_ready(process, peer, place)
            yield Server(peer, place, process.pid)
        finally:
            _end(process)


def free_port() -> int:
    """Returns a TCP port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment() -> dict[str, str]:
    ours = [name for name in os.environ if name.startswith("ROOMCAST_") and not name.startswith("ROOMCAST_TEST_")]
    inherited = {name: value for name, value in os.environ.items() if name not in ours}
    root = Path(__file__).parent.parent
    return {**inherited, "PYTHONPATH": f"{root}/src:{root}"}


def _wait_until_ready(process: subprocess.Popen[bytes], peer: Peer, place: Place, seconds: float = 20) -> None:
    """Waits until it answers a follower: an open port says nothing about the processes behind it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if _answers(peer, place):
            return
        time.sleep(0.02)
    said = (place.folder / "output").read_text(errors="replace")[-2000:]
    raise RuntimeError(f"{process.args!r} did not answer:\n{said}")


def _answers(peer: Peer, place: Place) -> bool:
    path = peer.follow.replace("{room}", "ready")
    try:
        with socket.create_connection(("127.0.0.1", place.port), timeout=5) as probe:
            probe.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
            return probe.recv(12) == b"HTTP/1.1 200"
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes], seconds: float = 3) -> None:
    """Ends the server and its children, by their ids: first with SIGTERM, then with SIGKILL."""
    pids = machine.family(process.pid) if process.poll() is None else []
    _signal(pids, signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        _signal(pids, signal.SIGKILL)
        process.wait()
    _signal(pids[1:], signal.SIGKILL)  # a child that outlived its parent


def _signal(pids: Sequence[int], which: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, which)
        except ProcessLookupError:
            continue
