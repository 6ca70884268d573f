"""A primary that dies under load, with a standby promoted in its place.

One failover serves two logs: in one database a commit waits for the standby, in the other it does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import httpx
import pytest

from roomcast.client import AsyncClient, Gap, Message
from tests.postgresql.conftest import Serve
from tests.postgresql.database import Cluster
from tests.running import PATIENCE, Running, wait_for

PUBLISHERS = 3
"""How many publishers each server has."""


@pytest.fixture
def pair() -> Iterator[tuple[Cluster, Cluster]]:
    """A primary that waits for its standby, and the standby."""
    primary = Cluster(synchronous_standby_names="*")
    primary.make()
    primary.start_alone()
    standby = primary.make_standby()
    standby.start()
    wait_for(lambda: primary.sql("SELECT count(*) FROM pg_stat_replication") == "1", "the standby to follow")
    yield primary, standby
    standby.remove()
    primary.remove()


class Load:
    """Publishers and followers of the servers of one log, which go on through whatever happens to it."""

    def __init__(self, servers: Sequence[Running]) -> None:
        self.acknowledged: dict[str, str] = {}
        """The id of each text whose publish was answered with `201`."""
        self.heard: list[list[Message | Gap]] = [[] for _ in servers]
        """The events that each follower heard."""
        self._stopping = False
        self._changed = asyncio.Event()
        self._publishing = [
            asyncio.create_task(self._publish(server, f"{which}-{n}"))
            for which, server in enumerate(servers)
            for n in range(PUBLISHERS)
        ]
        self._following = [
            asyncio.create_task(self._follow(server, heard))
            for server, heard in zip(servers, self.heard, strict=True)
        ]

    @property
    def epochs(self) -> list[str]:
        """The epochs of the acknowledged ids, in the order of their first one."""
        return list(dict.fromkeys(id.partition("-")[0] for id in self.acknowledged.values()))

    async def until_acknowledged(self, more: int) -> None:
        """Waits until so many more publishes were acknowledged."""
        goal = len(self.acknowledged) + more
        await self._until(lambda: len(self.acknowledged) >= goal)

    async def stop(self) -> None:
        """Ends the publishers, and the followers when they have the newest message."""
        self._stopping = True
        await asyncio.gather(*self._publishing)
        newest = max(
            self.acknowledged.values(), key=lambda id: (self.epochs.index(id.partition("-")[0]), _seq(id))
        )

        def has_newest(heard: Sequence[Message | Gap]) -> bool:
            return any(isinstance(one, Message) and one.id == newest for one in heard)

        await self._until(lambda: all(map(has_newest, self.heard)))
        for following in self._following:
            following.cancel()
        await asyncio.gather(*self._following, return_exceptions=True)

    async def _publish(self, server: Running, name: str) -> None:
        async with httpx.AsyncClient(timeout=30) as client:
            number = 0
            while not self._stopping:
                number += 1
                text = f"{name}-{number}"
                with suppress(httpx.TransportError):
                    answer = await client.post(f"{server.url}/messages", json={"room": "load", "text": text})
                    if answer.status_code == 201:
                        self.acknowledged[text] = answer.json()["id"]
                        self._changed.set()

    async def _follow(self, server: Running, heard: list[Message | Gap]) -> None:
        async with AsyncClient(server.url, max_delay=0.2) as client:
            async for one in client.follow("load"):
                if isinstance(one, Message | Gap):
                    heard.append(one)
                    self._changed.set()

    async def _until(self, state: Callable[[], bool]) -> None:
        async with asyncio.timeout(2 * PATIENCE):
            while not state():
                self._changed.clear()
                await self._changed.wait()


def _seq(id: str) -> int:
    return int(id.partition("-")[2])


def _texts(heard: Sequence[Message | Gap]) -> list[str]:
    return [str(one.text) for one in heard if isinstance(one, Message)]


async def test_a_failover_loses_nothing_or_says_what(serve_on: Serve, pair: tuple[Cluster, Cluster]) -> None:
    primary, standby = pair
    asynchronous, synchronous = primary.make_database(), primary.make_database()
    primary.sql(f'ALTER DATABASE "{asynchronous}" SET synchronous_commit = local')
    hosts = f"postgresql://roomcast@127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    options = ("--max-messages", "100000", "--max-bytes", "100MB")
    losing, keeping = (
        Load([serve_on(f"{hosts}/{name}", *options) for _ in range(2)]) for name in (asynchronous, synchronous)
    )
    await asyncio.gather(losing.until_acknowledged(50), keeping.until_acknowledged(50))
    await asyncio.to_thread(standby.stop_following)
    await losing.until_acknowledged(20)  # by then the last answers have come that were under way
    kept = dict(keeping.acknowledged)
    await losing.until_acknowledged(20)
    assert keeping.acknowledged == kept  # no publish is acknowledged that the standby does not have
    await asyncio.to_thread(primary.kill)
    await asyncio.to_thread(standby.sql, "SELECT pg_promote()")
    await asyncio.gather(losing.until_acknowledged(50), keeping.until_acknowledged(50))
    await asyncio.gather(losing.stop(), keeping.stop())
    _check_kept(keeping)
    _check_told(losing)


def _check_kept(load: Load) -> None:
    """Nothing acknowledged is lost, nothing is doubled, and nobody was told a gap."""
    assert len(load.epochs) == 1
    for heard in load.heard:
        assert not [one for one in heard if isinstance(one, Gap)]
        seqs = [_seq(one.id) for one in heard]
        assert seqs == list(range(1, len(seqs) + 1))
        texts = _texts(heard)
        assert len(texts) == len(set(texts))
        assert load.acknowledged.keys() <= set(texts)
        for one in heard:
            assert isinstance(one, Message)
            assert load.acknowledged.get(str(one.text), one.id) == one.id


def _check_told(load: Load) -> None:
    """Each follower was told one gap, and got after it all that is retained; what is gone was of the old epoch."""
    old, new = load.epochs
    for heard in load.heard:
        [gap] = [one for one in heard if isinstance(one, Gap)]
        assert gap.reason == "epoch"
        before, after = heard[: heard.index(gap)], heard[heard.index(gap) + 1 :]
        assert {one.id.partition("-")[0] for one in before} == {old}
        assert [one.id for one in after] == [f"{new}-{n}" for n in range(1, len(after) + 1)]
        texts = _texts(after)
        assert len(texts) == len(set(texts))
        gone = load.acknowledged.keys() - set(texts)
        assert gone
        assert {load.acknowledged[text].partition("-")[0] for text in gone} == {old}
