"""The rows of the benchmark as data: what is done, to whom, which figures are shown, and what must be reached.

The targets are those of issue 5. A ratio is of one round to the same round of the other server; what counts is the
median of the rounds' ratios.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.mongodb import Across, Share
from benchmarks.page import Storm
from benchmarks.work import Credentialed, FanOut, Idle, Publish, Reconnect, Replay, Requests, Steady, Syncs, Work

FLOOR, SYNCED, NCHAN, MEMORY, SQLITE, MONGODB, STARLETTE, FASTAPI = (
    "floor",
    "floor-synced",
    "nchan",
    "roomcast",
    "roomcast-sqlite",
    "roomcast-mongodb",
    "sse-starlette",
    "fastapi",
)
RIGHTS = "roomcast-rights"
"""roomcast with keys and a secret."""
CREDENTIALS = (("keyed", "key"), ("ticketed", "ticket"), ("url", "ticket in the URL"))
QUIET, SQLITE_QUIET = "roomcast-quiet", "roomcast-sqlite-quiet"
"""roomcast without an access log; the others have default settings."""
ROOMCAST = (MEMORY, SQLITE)
ALL = (FLOOR, NCHAN, MEMORY, SQLITE, STARLETTE, FASTAPI)
MAIN = (FLOOR, NCHAN, MEMORY, SQLITE)


@dataclass(frozen=True)
class Figure:
    """A column: a figure's key, its heading, and its format."""

    key: str
    heading: str
    digits: int = 1
    scale: float = 1


@dataclass(frozen=True)
class Target:
    """A target: for a figure, for its ratio to another server's, or to another figure of the same server."""

    figure: str
    name: str
    """The figure's name in the table."""
    limit: float
    at_most: bool = True
    against: str = ""
    """The peer whose figure it is divided by; SELF: the same server; empty: it is not divided."""
    other: str = ""
    """The figure it is divided by, if it is another one."""
    of: tuple[str, ...] = ROOMCAST
    """The peers that must reach it."""
    group: str = ""
    """At least one target of a group must be reached."""


SELF = "self"


def at_most(limit: float, figure: str, name: str, against: str = "", **more: object) -> Target:
    """Makes a target: the `figure`, called `name`, is at most `limit`, divided by that of the peer `against` if
    one is given. `more` are other fields of `Target`."""
    return Target(figure, name, limit, True, against, **more)  # type: ignore[arg-type]


def at_least(limit: float, figure: str, name: str, against: str = "", **more: object) -> Target:
    """Makes a target: the `figure`, called `name`, is at least `limit`, divided by that of the peer `against` if
    one is given. `more` are other fields of `Target`."""
    return Target(figure, name, limit, False, against, **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Row:
    """A kind of work, and the peers that it is measured on."""

    key: str
    title: str
    work: Work
    peers: tuple[str, ...]
    figures: tuple[Figure, ...]
    targets: tuple[Target, ...]
    note: str = ""
    long: bool = False
    """Whether it runs only with --long, and only once."""


CPU = Figure("cpu_us", "CPU µs/delivery", 2)
DELIVERIES = Figure("deliveries_per_s", "deliveries/s", 0)
PUBLISHES = Figure("publishes_per_s", "publishes/s", 0)
P50, P99 = Figure("p50_ms", "p50 ms", 2), Figure("p99_ms", "p99 ms", 2)
PUBLISH_CPU = Figure("publish_us", "CPU µs/publish")
FOLLOW_CPU = Figure("follow_us", "CPU µs/follower coming in")
ACK_P99 = Figure("ack_p99_ms", "answer p99 ms", 2)
REQUEST_COSTS = (("publish_us", "CPU per publish"), ("follow_us", "CPU per follower coming in"))
ACKED, COUNTED = Figure("acked", "publishes", 0), Figure("syncs", "syncs", 0)
IN_PLACE = Figure("syncs_per_s", "disk's syncs/s", 0)
GROWING = Figure("growing_syncs_per_s", "growing a file", 0)
LOST = Figure("lost", "not delivered", 0)
FANNED_OUT = (CPU, DELIVERIES, PUBLISHES, P50, P99, LOST)
LIVE = "until all are live, to the first accept"
CPU_NAME = "CPU per delivery"
SYNCS = "publishes to the disk's syncs"
COMPLETE = (at_most(0, "lost", "deliveries missing"), at_most(0, "wrong", "followers with wrong messages"))
SATURATED = (
    "unpaced: the load generator saturates a core of its own here, so deliveries/s and latency are partly its "
    "own; CPU per delivery is the fairer figure"
)

FIRST = FanOut(followers=5000, publishers=4, pace=0.5)

ROWS = (
    Row(
        "paced",
        "5,000 followers of one room, paced so that the floor uses half a core",
        FIRST,
        ALL,
        FANNED_OUT,
        (
            at_most(1.2, "cpu_us", CPU_NAME, FLOOR),
            at_most(0.9, "cpu_us", CPU_NAME, NCHAN),
            at_most(1.5, "p99_ms", "p99", NCHAN),
            *COMPLETE,
        ),
        "a server that cannot keep up publishes fewer messages, or is stopped with deliveries outstanding",
    ),
    Row(
        "burst",
        "1,000 followers, 32 publishers, as fast as it goes",
        FanOut(followers=1000, publishers=32),
        ALL,
        FANNED_OUT,
        (
            at_most(0.2, "cpu_us", CPU_NAME, FLOOR),
            at_least(6, "deliveries_per_s", "deliveries", NCHAN),
            at_most(1, "p99_ms", "p99", NCHAN),
            *COMPLETE,
        ),
        SATURATED,
    ),
    Row(
        "alternating",
        "1,000 followers, one publisher that waits for each answer",
        FanOut(followers=1000),
        ALL,
        FANNED_OUT,
        (
            at_most(1, "cpu_us", CPU_NAME, NCHAN, of=(MEMORY,)),
            at_most(1.3, "cpu_us", CPU_NAME, NCHAN, of=(SQLITE,)),
            *COMPLETE,
        ),
        SATURATED,
    ),
    Row(
        "rooms",
        "1,000 followers in 100 rooms, 32 publishers",
        FanOut(followers=1000, rooms=100, publishers=32),
        ALL,
        FANNED_OUT,
        (
            at_most(3, "cpu_us", CPU_NAME, FLOOR),
            at_most(1.5, "cpu_us", CPU_NAME, NCHAN),
            at_most(2.5, "p99_ms", "p99", NCHAN),
            *COMPLETE,
        ),
        f"ten deliveries a publish: the publish is most of it. {SATURATED}",
    ),
    Row(
        "lone",
        "one follower, one publisher that waits for each answer",
        FanOut(followers=1),
        MAIN,
        (PUBLISHES, P50, P99, Figure("cpu_us", "CPU µs/message", 1)),
        (at_most(1, "p50_ms", "p50 in ms, on memory:", of=(MEMORY,)),),
        "a flush on a timer would show here as its period",
    ),
    Row(
        "idle",
        "15,000 idle followers",
        Idle(15_000),
        ALL,
        (
            Figure("kb", "KB/connection", 2),
            Figure("kernel_kb", "kernel KB, both ends", 2),
            Figure("connect_s", "connecting s", 2),
            Figure("empty_mb", "empty server MB", 0),
        ),
        (
            at_most(2.5, "kb", "KB a connection"),
            at_most(3, "connect_s", "time to connect them", NCHAN),
        ),
        "resident memory beyond the empty server; the kernel's is for the sockets of both ends",
    ),
    Row(
        "publish",
        "publishes, 32 connections, nobody follows",
        Publish(publishers=32),
        (FLOOR, SYNCED, *ALL[1:]),
        (
            PUBLISHES,
            Figure("cpu_us", "CPU µs/publish"),
            Figure("ack_p50_ms", "answer p50 ms", 2),
            ACK_P99,
            IN_PLACE,
            GROWING,
        ),
        (
            at_least(0.35, "publishes_per_s", "publishes", NCHAN, of=(MEMORY,)),
            at_least(10, "publishes_per_s", SYNCS, SELF, other="syncs_per_s", of=(SQLITE,), group="less"),
            at_least(0.6, "publishes_per_s", "publishes", MEMORY, of=(SQLITE,), group="less"),
            at_most(0, "failed", "publishes refused"),
        ),
        SATURATED.replace("deliveries/s and latency", "publishes/s").replace("per delivery", "per publish"),
    ),
    Row(
        "publish-1",
        "publishes, one connection, nobody follows",
        Publish(publishers=1),
        (FLOOR, SYNCED, *MAIN[1:]),
        (
            PUBLISHES,
            Figure("cpu_us", "CPU µs/publish"),
            Figure("ack_p50_ms", "answer p50 ms", 2),
            ACK_P99,
            IN_PLACE,
            GROWING,
        ),
        (at_least(0.7, "publishes_per_s", SYNCS, SELF, other="syncs_per_s", of=(SQLITE,)),),
        "the synced floor: the rate left if each sync waits for a request, and each request for its answer",
    ),
    Row(
        "access-log",
        "with the access log on, as it is by default, and without: 32 publishers, then 10,000 followers coming in",
        Requests(publishers=32, followers=10_000),
        (MEMORY, QUIET, SQLITE, SQLITE_QUIET),
        (PUBLISHES, PUBLISH_CPU, FOLLOW_CPU, ACK_P99),
        (
            *(
                at_most(1.2, figure, name, quiet, of=(peer,))
                for peer, quiet in ((MEMORY, QUIET), (SQLITE, SQLITE_QUIET))
                for figure, name in (
                    ("publish_us", "CPU per publish"),
                    ("follow_us", "CPU per follower coming in"),
                )
            ),
            at_most(0, "failed", "publishes refused"),
        ),
        "its lines go to a file; the thread that writes them is included",
    ),
    Row(
        "heads",
        "with differing heads: a traceparent a publish, a cookie a follower, and without",
        Requests(publishers=32, followers=10_000, vary=True),
        ROOMCAST,
        (
            PUBLISH_CPU,
            Figure("varied_publish_us", "differing", 1),
            FOLLOW_CPU,
            Figure("varied_follow_us", "differing", 1),
        ),
        (
            *(at_most(1.1, f"varied_{figure}", name, SELF, other=figure) for figure, name in REQUEST_COSTS),
            at_most(0, "varied_failed", "publishes refused"),
        ),
        "the two in turn on one server",
    ),
    Row(
        "rights",
        "with rights: without a credential, with a key of its own each, with a ticket, with a new one in the URL",
        Credentialed(publishers=32, followers=10_000),
        (RIGHTS,),
        (
            PUBLISH_CPU,
            *(Figure(f"{kind}_publish_us", name) for kind, name in (("keyed", "key"), ("ticketed", "ticket"))),
            FOLLOW_CPU,
            *(Figure(f"{kind}_follow_us", name) for kind, name in CREDENTIALS),
        ),
        (
            *(
                at_most(1.15, f"{kind}_follow_us", REQUEST_COSTS[1][1], SELF, other="follow_us", of=(RIGHTS,))
                for kind, _ in CREDENTIALS
            ),
            *(
                at_most(1.15, f"{kind}_publish_us", REQUEST_COSTS[0][1], SELF, other="publish_us", of=(RIGHTS,))
                for kind in ("keyed", "ticketed")
            ),
            at_most(0, "keyed_failed", "publishes refused", of=(RIGHTS,)),
            at_most(0, "ticketed_failed", "publishes refused", of=(RIGHTS,)),
        ),
        "the four in turn on one server",
    ),
    Row(
        "syncs-1",
        "syncs counted by strace, one connection",
        Syncs(publishers=1),
        (SQLITE,),
        (ACKED, COUNTED, Figure("syncs_per_publish", "syncs/publish", 3)),
        (at_least(1, "syncs_per_publish", "syncs a publish", of=(SQLITE,)),),
        "every answer has a sync of its own behind it",
    ),
    Row(
        "syncs",
        "syncs counted by strace, 32 connections",
        Syncs(publishers=32),
        (SQLITE,),
        (ACKED, COUNTED, Figure("publishes_per_sync", "publishes/sync", 1)),
        (),
        "concurrent posts share a sync: at most 32 of them here",
    ),
    Row(
        "replay",
        "100 newcomers, 10,000 messages each",
        Replay(newcomers=100, messages=10_000),
        MAIN,
        (
            Figure("bytes_per_s", "MB/s", 0, 1e-6),
            Figure("elapsed_s", "seconds", 2),
            Figure("cpu_us", "CPU µs/message", 2),
            LOST,
        ),
        (at_least(0.5, "bytes_per_s", "bytes a second", FLOOR), at_most(0, "lost", "messages missing")),
        "the floor is a C program that writes the same bytes as roomcast",
    ),
    Row(
        "reconnect",
        "10,000 followers cut and back at once, each 10 messages behind",
        Reconnect(followers=10_000),
        (NCHAN, MEMORY, SQLITE),
        (
            Figure("accept_s", "first accept s", 2),
            Figure("connect_s", "all accepted again s", 2),
            Figure("caught_up_s", "all caught up s", 2),
            Figure("live_s", "all live s", 2),
            Figure("reads_per_follower", "log reads/follower", 4),
            LOST,
        ),
        (
            at_most(3, "live_s", LIVE, NCHAN, other="accept_s"),
            at_most(0.01, "reads_per_follower", "log reads a follower"),
            *COMPLETE,
        ),
        "live: has the missed messages and the next one; 400 connections are opened at a time",
    ),
    Row(
        "large",
        "16 KB messages, 500 followers, paced so that the floor uses half a core",
        FanOut(followers=500, publishers=4, padding=16 * 1024, pace=0.5),
        MAIN,
        FANNED_OUT,
        (at_most(1.15, "cpu_us", CPU_NAME, FLOOR), *COMPLETE),
    ),
    Row(
        "page",
        "the page in Chromium: 10,000 messages in the list, 10,000 rooms, 500 more messages a second",
        Storm(held=10_000, rate=500, rooms=10_000),
        (MEMORY,),
        (
            Figure("messages_per_second", "messages/s"),
            Figure("frames_per_second", "frames/s"),
            Figure("worst_frame_ms", "longest frame ms"),
            Figure("main_thread", "main thread %", 1, 100),
            Figure("long_tasks", "tasks over 50 ms", 0),
            Figure("longest_task_ms", "longest ms"),
            Figure("first_paint_ms", "first paint ms"),
        ),
        (at_most(50, "longest_task_ms", "the longest task in ms", of=(MEMORY,)),),
        "drawn without a graphics card, on the cores of the server and the load",
    ),
    Row(
        "mongodb",
        "one, two and four servers on one collection, 8 publishers each, as fast as it goes",
        Share(messages=640),
        (MONGODB,),
        (
            Figure("publishes_1", "one: publishes/s", 0),
            Figure("publishes_2", "two", 0),
            Figure("publishes_4", "four", 0),
            Figure("ratio_2", "two/one", 2),
            Figure("ratio_4", "four/one", 2),
            Figure("share_2", "least share of two", 2),
            Figure("share_4", "of four", 2),
        ),
        (
            at_least(2 / 3, "share_2", "the least share, of an even one, of two", of=(MONGODB,)),
            at_least(2 / 3, "share_4", "the least share, of an even one, of four", of=(MONGODB,)),
            at_most(0, "holes", "numbers left out", of=(MONGODB,)),
        ),
        "shares are parts of an even one: two thirds of that are a third of all where there are two. Servers, "
        "load and database share the cores",
    ),
    Row(
        "mongodb-across",
        "from a POST to one server to a follower of another, one message after the other",
        Across(messages=150),
        (MONGODB,),
        (
            Figure("delivery_p50_ms", "delivery p50 ms"),
            Figure("delivery_p99_ms", "p99 ms"),
            Figure("answer_p50_ms", "answer p50 ms"),
            Figure("answer_p99_ms", "p99 ms"),
            Figure("insert_p50_ms", "insert p50 ms"),
            Figure("insert_p99_ms", "p99 ms"),
            Figure("ping_p50_ms", "ping p50 ms"),
            Figure("ping_p99_ms", "p99 ms"),
        ),
        (),
        "beside it, what the database takes for an insert elsewhere and for a ping, between the messages",
    ),
    Row(
        "steady",
        "ten minutes of the first row",
        Steady(FIRST, seconds=600),
        ROOMCAST,
        (
            Figure("mb", "resident MB", 1),
            Figure("growth", "growth %", 2, 100),
            Figure("spread", "spread %", 2, 100),
            CPU,
            LOST,
        ),
        (at_most(0.02, "spread", "memory's spread after the first minute"), *COMPLETE),
        long=True,
    ),
)
