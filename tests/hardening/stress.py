"""`make stress`: a server in 256 MB serves 5,000 followers while `roomcast torture --rude` does all that it can.

Nothing that was acknowledged may be lost, a publish may take 100 ms at the 99th percentile, and the server's
memory must return to its level from before, within 10 MB. That level is measured after a first, short round of the
same attacks, since a process keeps some memory that it has used once. Where cgroups can be made, the kernel limits
the server's memory; elsewhere it is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from roomcast.torture.rude import RudeAttack, table
from roomcast.torture.target import Target
from tests.hardening.process import resident_bytes
from tests.hardening.sink import build_sink
from tests.running import Running, start_roomcast, wait_for

MEGABYTE = 1_000_000
LIMIT = 256 * 1024 * 1024
FOLLOWERS, ROOMS, RATE = 5_000, 500, 10
"""Ten messages a second, each to the ten followers of one room: quiet rooms."""
PUBLISH_SECONDS = 0.1
BACK = 10 * MEGABYTE
_WARM_SECONDS, _BACK_SECONDS = 3.0, 25.0
"""The length of the first round, and the time within which the memory must be back: the server returns freed
memory every ten seconds."""
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass
class Found:
    """The result of a run."""

    rude: RudeAttack
    sink: dict[str, float]
    held: bool
    """Whether the kernel limited the server's memory."""
    before: int
    """The server's memory in bytes with all followers, before the attacks; `most` and `after`: during and after
    them."""
    most: int = 0
    after: int = 0
    status: int | None = None
    """The server's exit status; None if it still runs."""
    wrong: list[str] = field(default_factory=list)

    def judge(self, slow: float) -> None:
        """Sets `wrong`; `slow` is the longest time that a publish may take, in seconds."""
        bad = {name: self.sink.get(name) for name in ("wrong", "lost", "failed", "closed") if self.sink.get(name)}
        checks = {
            f"the server ended with {self.status}": self.status is not None,
            f"the 5,000 followers: {self.sink.get('error') or bad}": bool(bad or "error" in self.sink),
            f"its memory was {self.most / 1e6:.0f} MB": self.most > LIMIT,
            f"its memory went from {self.before / 1e6:.0f} to {self.after / 1e6:.0f} MB": self.after
            > self.before + BACK,
        }
        for result in self.rude.results:
            took = result.seen.publish_p99
            checks[f"{result.name}: a publish took {took * 1000:.0f} ms"] = took > slow
            checks[f"{result.name}: {result.seen.lost} lost, {result.seen.failed} failed"] = bool(
                result.seen.lost or result.seen.failed or not result.serves
            )
        self.wrong = [*(what for what, is_so in checks.items() if is_so), *self.rude.violations]


def stress(folder: Path, seconds: float) -> Found:
    """Starts a server with 5,000 followers, and attacks it for `seconds`."""
    with _started(folder) as (server, held):
        pid = server.process.pid
        options = {"followers": FOLLOWERS, "rooms": ROOMS, "rate": RATE, "seconds": seconds + 60, "settle": 1}
        flags = [f"--{name}={value}" for name, value in options.items()]
        # One connection publishes one message at a time: quiet rooms.
        sink = subprocess.Popen(
            [build_sink(folder), f"--port={server.port}", "--publishers=1", "--timeout=60", *flags],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            wait_for(lambda: server.metric("roomcast_followers") == FOLLOWERS, "all followers", 60)
            wait_for(lambda: server.metric("roomcast_messages_published_total") > 0, "their first message")
            asyncio.run(RudeAttack(Target.parse(server.url), _WARM_SECONDS, allowed=True).run())
            # There is no state to wait for: the memory that this round leaves is unknown, and the next one starts
            # from it.
            time.sleep(_BACK_SECONDS / 2)
            rude = RudeAttack(Target.parse(server.url), seconds, allowed=True)
            found = Found(rude, {}, held, before=resident_bytes(pid))
            with _watched(pid, found):
                asyncio.run(rude.run())
            with suppress(AssertionError, FileNotFoundError):
                wait_for(lambda: resident_bytes(pid) <= found.before + BACK, "its memory", _BACK_SECONDS)
            found.status = server.process.poll()
            found.after = resident_bytes(pid) if found.status is None else 0
            output, _ = sink.communicate(timeout=seconds + 120)
            found.sink = json.loads(output)
        finally:
            sink.kill()
            sink.wait()
    return found


@contextmanager
def _started(folder: Path) -> Iterator[tuple[Running, bool]]:
    """Runs a server. Gives it, and whether it is in a cgroup of 256 MB."""
    server = start_roomcast(folder, "--no-access-log", "--max-bytes=5MB", files=10_000)
    group = _group(server.process.pid)
    try:
        yield server, group is not None
    finally:
        server.kill()
        if group is not None:
            wait_for(lambda: _is_removed(group), "the kernel to be done with its process")


def _is_removed(group: Path) -> bool:
    with suppress(OSError):
        group.rmdir()
    return not group.exists()


def _group(pid: int) -> Path | None:
    """Puts the process into a new cgroup (version 1 or 2); None if that is not allowed."""
    name = f"roomcast-stress-{pid}"
    for root, limit in ((_CGROUPS / "memory", "memory.limit_in_bytes"), (_CGROUPS, "memory.max")):
        if not (root / "cgroup.procs").exists():
            continue
        group = root / name
        try:
            group.mkdir()
            (group / limit).write_text(str(LIMIT))
            (group / "cgroup.procs").write_text(str(pid))
        except OSError:
            with suppress(OSError):
                group.rmdir()
            continue
        return group
    return None


@contextmanager
def _watched(pid: int, found: Found) -> Iterator[None]:
    """Notes the server's largest memory meanwhile."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            with suppress(OSError, AssertionError):
                found.most = max(found.most, resident_bytes(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = stress(Path(folder), given.seconds)
    found.judge(PUBLISH_SECONDS)
    print("\n".join(table(found.rude.results)))
    print(f"followers: {found.sink}")
    by = "held to 268 MB by the kernel" if found.held else "not held by the kernel"
    memory = [f"{size / 1e6:.0f} MB" for size in (found.before, found.most, found.after)]
    print("memory: {} before, {} at most, {} after; {}".format(*memory, by))
    print("\n".join(found.wrong or ["The server withstood all attacks."]))
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
