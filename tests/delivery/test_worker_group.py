"""Workers that count together, ask each other and share budgets, over peers that are plain objects."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from roomcast import tasks
from roomcast.delivery.counts import ComputedCount, Counts
from roomcast.delivery.followed import FollowedRooms
from roomcast.delivery.follower_list import FollowerList, Place
from roomcast.delivery.hub import Hub
from roomcast.delivery.stream import FollowerDetails, Stream
from roomcast.delivery.streams import Streams
from roomcast.delivery.worker_group import FollowedAnywhere, WorkerGroup
from roomcast.log.memory import MemoryLog
from roomcast.model.retention import Retention
from tests.delivery.fakes import FakeConnection, follow
from tests.delivery.peers import Linked, linked


class Purse:
    """A budget."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}
        self.charged: list[tuple[str, float]] = []

    def take_spent(self) -> Mapping[str, float]:
        spent, self.spent = self.spent, {}
        return spent

    def charge(self, name: str, amount: float) -> None:
        self.charged.append((name, amount))


@pytest.fixture
def peers() -> list[Linked]:
    """Two workers that are connected, out of three that the server has."""
    return linked(2, siblings=3)


@pytest.fixture
def workers(peers: list[Linked]) -> list[WorkerGroup]:
    return [WorkerGroup(peer) for peer in peers]


def test_the_counts_of_others_are_summed_by_name(workers: list[WorkerGroup]) -> None:
    own = [Counts(), Counts()]
    for worker, counts in zip(workers, own, strict=True):
        worker.count("streams", counts)
    own[0].set("shop", 2)
    workers[0].tell()
    assert (workers[1].elsewhere("streams", "shop"), workers[0].elsewhere("streams", "shop")) == (2, 0)
    own[0].set("shop", 3)
    own[0].set("other", 1)
    workers[0].tell()
    assert [workers[1].elsewhere("streams", name) for name in ("shop", "other", "nobody")] == [3, 1, 0]
    own[0].set("shop", 0)
    workers[0].tell()
    assert workers[1]._sums == {"streams": {"other": 1}}
    assert workers[1]._reported == {"streams": {1: {"other": 1}}}
    assert workers[1].elsewhere("unknown topic") == 0


def test_without_a_change_nothing_is_told(workers: list[WorkerGroup], peers: list[Linked]) -> None:
    for worker in workers:
        worker.count("followers", ComputedCount(lambda: 4))
        worker.spend("rates", Purse())
    workers[0].tell()
    workers[0].tell()
    assert peers[0].told == [("followers", {"": 4})]


def test_a_worker_that_is_gone_counts_no_more_and_a_new_one_is_told_everything(
    workers: list[WorkerGroup], peers: list[Linked]
) -> None:
    for worker in workers:
        worker.count("followers", ComputedCount(lambda: 4))
    for worker in workers:
        worker.tell()
    assert workers[0].elsewhere("followers") == 4
    peers[0].connect()
    assert workers[0].elsewhere("followers") == 0
    assert workers[0]._reported == {"followers": {}}
    peers[0].connect(2)
    workers[0].tell()
    assert peers[0].told == [("followers", {"": 4})] * 2


def test_spending_is_charged_at_the_others(workers: list[WorkerGroup]) -> None:
    purses = [Purse(), Purse()]
    for worker, purse in zip(workers, purses, strict=True):
        worker.spend("rates", purse)
    purses[0].spent = {"shop": 2.5}
    workers[0].tell()
    workers[0].tell()
    assert (purses[0].charged, purses[1].charged) == ([], [("shop", 2.5)])


async def test_workers_that_do_not_answer_are_named(workers: list[WorkerGroup], peers: list[Linked]) -> None:
    for peer in peers:
        peer.when_asked("ready", lambda value: f"{value}!")
    assert await workers[0].ask_workers("ready", "yes") == ({2: "yes!"}, [3])
    peers[1].hangs = True
    assert await workers[0].ask_workers("ready", "yes") == ({}, [2, 3])


async def test_one_process_has_nobody_to_ask() -> None:
    alone = WorkerGroup()
    alone.count("followers", ComputedCount(lambda: 4))
    alone.spend("rates", Purse())
    await alone.run()  # returns at once
    assert (alone.number, alone.workers, alone.elsewhere("followers")) == (1, 1, 0)
    assert await alone.ask_workers("ready") == ({}, [])
    rooms = FollowedRooms()
    rooms.add("cab")
    followed = FollowedAnywhere(alone, rooms)
    assert await followed.names("", None, None, 2) == ["a", "b"]
    assert await followed.counts("ad") == {"a": 1, "d": 0}


async def test_the_followed_rooms_are_those_of_all_workers(workers: list[WorkerGroup]) -> None:
    own = [FollowedRooms(), FollowedRooms()]
    followed = [FollowedAnywhere(worker, rooms) for worker, rooms in zip(workers, own, strict=True)]
    own[0].add("ad")
    own[1].add("abc")
    assert await followed[0].names("", None, None, 3) == ["a", "b", "c"]
    assert await followed[0].names("", "a", "c", 9) == ["b", "c"]
    assert await followed[1].counts("abde") == {"a": 2, "b": 1, "d": 1, "e": 0}
    assert (workers[0].number, workers[1].number, workers[0].workers) == (1, 2, 3)


# The list of followers


def list_of(worker: WorkerGroup, since: list[int]) -> tuple[FollowerList, list[Stream]]:
    """A worker's followers, which began at these times."""
    streams = Streams(MemoryLog(Retention()), Hub("test", 5, 0))
    begun = [follow(streams, FakeConnection(), 5) for _ in since]
    for number, (stream, time) in enumerate(zip(begun, since, strict=True)):
        stream.details = FollowerDetails(number, time, "192.0.2.1", "shop", "curl")
    return FollowerList(worker, streams), begun


async def test_the_followers_of_all_workers_are_in_one_order(workers: list[WorkerGroup]) -> None:
    (followers, streams), _ = list_of(workers[0], [30, 10]), list_of(workers[1], [20, 10])
    places, missing = await followers.places((0, 0, 0), 0, 9)
    assert [place.key for place in places] == [(10, 1, 1), (10, 2, 1), (20, 2, 0), (30, 1, 0)]
    assert missing == [3]
    assert [place.key for place in (await followers.places((10, 2, 1), 0, 1))[0]] == [(20, 2, 0)]
    rows, missing = await followers.rows(places)
    assert [row.count(b'"user_agent":"curl"') for row in rows] == [1] * 4
    assert [b'"worker":2' in row for row in rows] == [False, True, True, False]
    assert missing == []
    streams[1].end("slow")
    assert len((await followers.rows(places))[0]) == 3
    assert len((await followers.places((0, 0, 0), 0, 9))[0]) == 3


async def test_only_streams_that_are_far_enough_behind_are_listed(workers: list[WorkerGroup]) -> None:
    (followers, [behind, _]), _ = list_of(workers[0], [1, 2]), list_of(workers[1], [])
    behind.fall_behind(2)
    assert [place.number for place in (await followers.places((0, 0, 0), 3, 9))[0]] == [0]
    assert (await followers.places((0, 0, 0), 4, 9))[0] == []
    [row] = (await followers.rows([Place(1, 1, 0, 0)]))[0]
    assert b'"position":"test-2","behind":3,' in row


async def test_the_rows_of_a_worker_that_hangs_are_missing(
    workers: list[WorkerGroup], peers: list[Linked]
) -> None:
    (followers, _), _ = list_of(workers[0], [1]), list_of(workers[1], [2])
    places, _ = await followers.places((0, 0, 0), 0, 9)
    peers[1].hangs = True
    rows, missing = await followers.rows(places)
    assert (len(rows), missing) == (1, [2])


async def test_a_stream_that_ends_while_others_are_listed_is_left_out(
    workers: list[WorkerGroup], monkeypatch: pytest.MonkeyPatch
) -> None:
    (followers, streams), _ = list_of(workers[0], [1, 2]), list_of(workers[1], [])

    async def end_all(turns: tasks.Turns) -> None:
        for stream in streams:
            stream.end("slow")

    monkeypatch.setattr(tasks.Turns, "next", end_all)
    assert len((await followers.places((0, 0, 0), 0, 9))[0]) == 1
