"""The kinds of work: each starts a server, loads it, and returns its figures."""

from __future__ import annotations

import math
import re
import socket
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Protocol

from benchmarks import holders, load, machine
from benchmarks.load import Failed, Figures
from benchmarks.peers import PEERS, Peer, Server, running, traced

_RETAINED = 10_000
"""Messages that a log retains by default."""
MESSAGE = 100
"""Bytes of padding in a message's text by default."""


@dataclass(frozen=True)
class Bench:
    """The parameters of this run of the benchmark."""

    server_core: int
    load_core: int
    seconds: float
    """Seconds for which a row publishes."""
    share: float = 1.0
    """The share of a row's followers and messages: 1, or less for a quick run."""
    settle: float = 0.5
    """Seconds of silence before the measurement."""
    patience: float = 10.0
    """Seconds that deliveries may take after the last publish."""
    cache: dict[object, float] = field(default_factory=dict)
    """Results that are shared by all servers: the rates of the paced rows."""

    def part(self, count: int) -> int:
        """Returns the part of `count` that this run uses, at least 1."""
        return max(1, math.ceil(count * self.share))

    def run(self, server: Server, options: Mapping[str, object]) -> Figures:
        """Runs the sink against the `server` with `options` as flags, beside this run's own. Returns its figures,
        and in `others` the share of a core that other processes used."""
        given = {"seconds": self.seconds, "settle": self.settle, "timeout": self.patience, **options}
        with _quiet(server) as disturbed:
            figures = load.run(server, self.load_core, given)
        return {**figures, **disturbed}


class Work(Protocol):
    """A kind of work."""

    def measure(self, peer: Peer, bench: Bench) -> Figures:
        """Starts the `peer` and measures it, with the sizes and times of `bench`. Raises `Failed`."""


@contextmanager
def _quiet(server: Server) -> Iterator[Figures]:
    """Fills in `others`: CPU time of all processes except this one, the sink and the server, as a share of one
    core."""
    figures: Figures = {}
    began, before = time.monotonic(), _others(server)
    yield figures
    figures["others"] = max(0.0, _others(server) - before) / (time.monotonic() - began)


def _others(server: Server) -> float:
    return machine.busy_seconds() - machine.cpu_seconds(server.pids) - machine.own_cpu_seconds()


def _per(figures: Figures, count: str) -> float:
    """CPU time for each, in µs; NaN if there was none."""
    return figures["cpu_s"] * 1e6 / figures[count] if figures[count] else math.nan


@dataclass(frozen=True)
class FanOut:
    """Followers, and publishers that publish as fast as answers come, or at a pace."""

    followers: int
    rooms: int = 1
    publishers: int = 1
    padding: int = MESSAGE
    pace: float = 0
    """The share of a core that the floor uses at the chosen rate; 0: full speed."""

    def measure(self, peer: Peer, bench: Bench) -> Figures:
        """Measures the `peer` with the sizes and times of `bench`."""
        rate = self.rate(bench) if self.pace else 0
        with running(peer, bench.server_core) as server:
            return self._run(server, bench, rate)

    def _run(self, server: Server, bench: Bench, rate: float) -> Figures:
        options = {
            "followers": bench.part(self.followers),
            "rooms": bench.part(self.rooms),
            "publishers": self.publishers,
            "padding": self.padding,
            "rate": rate,
        }
        figures = bench.run(server, options)
        return {**figures, "cpu_us": _per(figures, "deliveries"), "rate": rate}

    def rate(self, bench: Bench) -> float:
        """Returns the messages a second for `bench`, computed from the floor's cost at a careful rate."""
        if self not in bench.cache:
            followers = bench.part(self.followers)
            careful = self.pace / (followers * (10e-6 + self.padding * 2e-9))
            with running(PEERS["floor"], bench.server_core) as floor:
                cost = self._run(floor, bench, careful)["cpu_us"] / 1e6
            bench.cache[self] = round(self.pace / (followers * cost), 1)
        return bench.cache[self]


@dataclass(frozen=True)
class Publish:
    """Nobody follows; publishers publish as fast as answers come. The disk's own syncs are measured before and
    after."""

    publishers: int

    def measure(self, peer: Peer, bench: Bench) -> Figures:
        """Measures the `peer` with the sizes and times of `bench`."""
        with running(peer, bench.server_core) as server:
            folder = server.place.folder
            before = _syncs(folder, bench)
            figures = bench.run(server, {"publishers": self.publishers})
            after = _syncs(folder, bench)
        syncs = {key: (before[key] + after[key]) / 2 for key in before}
        return {**figures, **syncs, "cpu_us": _per(figures, "acked")}


def _syncs(folder: Path, bench: Bench) -> Figures:
    """The disk's own syncs a second, within an existing file and at the end of a growing one."""
    seconds = bench.seconds / 8
    return {
        "syncs_per_s": machine.syncs_per_second(folder, seconds),
        "growing_syncs_per_s": machine.syncs_per_second(folder, seconds, growing=True),
    }


@dataclass(frozen=True)
class Syncs:
    """Publishing under strace, which writes down each fsync and fdatasync: its counts mean something, its rates
    do not."""

    publishers: int

    def measure(self, peer: Peer, bench: Bench) -> Figures:
        """Measures the `peer` with the sizes and times of `bench`. Raises `Failed` without strace."""
        if (how := traced(peer).missing()) != "":
            raise Failed(f"strace is missing: {how}")
        with running(traced(peer), bench.server_core) as server:
            began = time.time()
            figures = bench.run(server, {"publishers": self.publishers})
            ended = time.time()
            time.sleep(0.2)
            lines = (server.place.folder / "strace").read_text().splitlines()
        # A call that another thread's event cuts in two has a second line, "<... fdatasync resumed>".
        calls = (re.match(r"(?:\d+ +)?(\d+\.\d+) f(?:data)?sync\(", line) for line in lines)
        syncs = sum(1 for call in calls if call and began <= float(call[1]) <= ended)
        return {
            "syncs": syncs,
            "acked": figures["acked"],
            "syncs_per_publish": syncs / max(1, figures["acked"]),
            "publishes_per_sync": figures["acked"] / max(1, syncs),
        }


@dataclass(frozen=True)
class Idle:
    """Followers of a quiet room, and their memory."""

    followers: int

    def measure(self, peer: Peer, bench: Bench) -> Figures:
        """Measures the `peer` with the sizes and times of `bench`. Raises `Failed` if followers are missing."""
        followers = bench.part(self.followers)
        with running(peer, bench.server_core) as server:
            time.sleep(bench.settle)
            empty, kernel = machine.resident_kb(server.pids), machine.kernel_kb()
            options = {"followers": followers, "timeout": 3 * bench.patience}
            with _quiet(server) as disturbed, load.open_followers(server, bench.load_core, options) as figures:
                time.sleep(bench.settle)
                full, kernel_full = machine.resident_kb(server.pids), machine.kernel_kb()
        if figures["open"] < followers:
            raise Failed(f"only {figures['open']} of {followers} came in: {figures['complaint']}")
        return {
            **figures,
            **disturbed,
            "kb": (full - empty) / followers,
            "kernel_kb": (kernel_full - kernel) / followers,
            "empty_mb": empty / 1024,
        }


@dataclass(frozen=True)
class Requests:
    """Publishes, and then new followers of a quiet room: the cost of a request by itself. With `vary`, each is
    also measured with a head that differs in every request. They take turns, so that a change on the machine
    affects all."""

    publishers: int
    followers: int
    vary: bool = False
    turns: int = 2

    def measure(self, peer: Peer, bench: Bench) -> Figures:
        """Measures the `peer` with the sizes and times of `bench`, its kinds of requests in turn."""
        figures: Figures = {}
        kinds = {"": {}, "varied_": {"vary": True}} if self.vary else {"": {}}
        with running(peer, bench.server_core) as server:
            for _ in range(self.turns):
                for prefix, options in kinds.items():
                    _add(figures, prefix, self._once(server, bench, options), self.turns)
        return figures

    def _once(self, server: Server, bench: Bench, options: Mapping[str, object]) -> Figures:
        published = bench.run(server, {"publishers": self.publishers, "seconds": bench.seconds / 2, **options})
        return {
            "publish_us": _per(published, "acked"),
            "follow_us": self._follow(server, bench, options),
            "publishes_per_s": published["publishes_per_s"],
            "ack_p99_ms": published["ack_p99_ms"],
            "failed": published["failed"],
        }

    def _follow(self, server: Server, bench: Bench, options: Mapping[str, object]) -> float:
        """The server's CPU time for each new follower, in µs."""
        followers = bench.part(self.followers)
        newcomers = {"follow": f"{server.peer.follow}&replay=none", "timeout": 3 * bench.patience}
        time.sleep(bench.settle)
        before = machine.cpu_seconds(server.pids)
        with load.open_followers(
            server, bench.load_core, {"followers": followers, **newcomers, **options}
        ) as came:
            cpu = machine.cpu_seconds(server.pids) - before
        time.sleep(bench.settle)  # the server closes their connections now, not in the next measurement
        if came["open"] < followers:
            raise Failed(f"only {came['open']} of {followers} came in: {came['complaint']}")
        return cpu * 1e6 / followers


_KNOWN = 5_000
"""Tickets that are used repeatedly: fewer than the server caches."""


@dataclass(frozen=True)
class Credentialed(Requests):
    """The same without a credential, with a different key for each request, with tickets that were used before,
    and, for followers, with new tickets in their URLs. They take turns on one server."""

    def measure(self, peer: Peer, bench: Bench) -> Figures:
        """Measures the `peer` with the sizes and times of `bench`, its kinds of credentials in turn."""
        figures: Figures = {}
        with running(peer, bench.server_core) as server:
            folder, followers = server.place.folder, bench.part(self.followers)
            for _ in range(self.turns):
                kinds: dict[str, Mapping[str, object]] = {
                    "": {},
                    "keyed_": {"bearers": holders.keys(folder)},
                    "ticketed_": {"bearers": holders.tickets(folder, _KNOWN)},
                }
                for prefix, options in kinds.items():
                    _add(figures, prefix, self._once(server, bench, options), self.turns)
                in_url = {"tickets": holders.tickets(folder, followers)}
                _add(figures, "url_", {"follow_us": self._follow(server, bench, in_url)}, self.turns)
        return figures


def _add(figures: Figures, prefix: str, more: Figures, turns: int) -> None:
    for key, value in more.items():
        figures[prefix + key] = figures.get(prefix + key, 0.0) + value / turns


@dataclass(frozen=True)
class Replay:
    """New followers that request the whole history at once. The floor writes the bytes that roomcast wrote."""

    newcomers: int
    messages: int

    def measure(self, peer: Peer, bench: Bench) -> Figures:
        """Measures the `peer` with the sizes and times of `bench`, whose log is filled before."""
        messages = bench.part(self.messages)
        recorded = self._record(bench) if peer.name == "floor" else None
        with running(peer, bench.server_core, recorded) as server:
            if recorded is None:
                _fill(server, bench, messages)
            options = {"followers": self.newcomers, "replay": messages, "follow": peer.replay}
            figures = bench.run(server, options)
        return {**figures, "cpu_us": _per(figures, "deliveries")}

    def _record(self, bench: Bench) -> Path:
        path, messages = load.BUILD / "replay", bench.part(self.messages)
        if bench.cache.get(self) != messages:
            with running(PEERS["roomcast"], bench.server_core) as server:
                _fill(server, bench, messages)
                path.write_bytes(_first_bytes(server, messages))
            bench.cache[self] = messages
        return path


def _fill(server: Server, bench: Bench, messages: int, followers: int = 0) -> None:
    """Publishes `messages` messages to the room that will be followed. Raises `Failed` if one is refused."""
    options = {
        "messages": messages,
        "followers": followers,
        "publishers": 32,
        "seconds": 60,
        "padding": MESSAGE,
    }
    figures = bench.run(server, options)
    if figures["acked"] != messages:
        raise Failed(f"{figures['acked']:.0f} of {messages} messages were taken: {figures['complaint']}")


def _first_bytes(server: Server, messages: int) -> bytes:
    """The bytes that one new follower receives, without the head."""
    path = server.peer.replay.replace("{room}", "room0")
    with socket.create_connection(("127.0.0.1", server.place.port), timeout=20) as stream:
        stream.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n".encode())
        got, stamps = bytearray(), 0
        while stamps < 2 * messages or not got.endswith(b"\n"):
            piece = stream.recv(1 << 18)
            if not piece:
                raise Failed("the server hung up on a newcomer")
            got += piece
            stamps += piece.count(b"~")
    return bytes(got).partition(b"\r\n\r\n")[2]


@dataclass(frozen=True)
class Reconnect:
    """Live followers that are all cut and all reconnect at once, each some messages behind."""

    followers: int
    behind: int = 10

    def measure(self, peer: Peer, bench: Bench) -> Figures:
        """Measures the `peer` with the sizes and times of `bench`."""
        followers = bench.part(self.followers)
        options = {
            "followers": followers,
            "behind": self.behind,
            "timeout": 4 * bench.patience,
            "batch": 400,
        }
        with running(peer, bench.server_core) as server:
            figures = bench.run(server, options)
            if peer.name.startswith("roomcast"):
                figures["reads_per_follower"] = _metric(server, "roomcast_log_reads_total") / followers
        return figures


def _metric(server: Server, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.place.port}/metrics", timeout=10) as answer:
        found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
    return float(found[1]) if found else math.nan


@dataclass(frozen=True)
class Steady:
    """A fan-out that lasts, whose memory is sampled every few seconds after the first `warm` seconds.

    The log is filled before, with a follower listening, as in a server that has run for a while: at this pace it
    would take eight minutes to reach its cap of 10,000 messages, and grow by 1 KB with each."""

    fan_out: FanOut
    seconds: float
    warm: float = 60
    every: float = 5

    def measure(self, peer: Peer, bench: Bench) -> Figures:
        """Measures the `peer` with the sizes and times of `bench`, after the log was filled."""
        rate = self.fan_out.rate(bench)
        with running(peer, bench.server_core) as server:
            _fill(server, bench, bench.part(_RETAINED), followers=1)
            options = {
                "followers": bench.part(self.fan_out.followers),
                "publishers": self.fan_out.publishers,
                "rate": rate,
                "seconds": self.seconds,
            }
            samples: list[float] = []
            with _sampled(lambda: samples.append(machine.resident_kb(server.pids)), self.warm, self.every):
                figures = load.run(server, bench.load_core, {**options, "timeout": 30}, limit=self.seconds + 120)
        flat = statistics.median(samples)
        return {
            **figures,
            "cpu_us": _per(figures, "deliveries"),
            "mb": flat / 1024,
            "growth": (max(samples) - samples[0]) / flat,
            "spread": (max(samples) - min(samples)) / flat,
        }


@contextmanager
def _sampled(look: Callable[[], None], after: float, every: float) -> Iterator[None]:
    """Samples from a thread until the block ends."""
    over = Event()

    def watch() -> None:
        pause = after
        while not over.wait(pause):
            look()
            pause = every

    thread = Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
