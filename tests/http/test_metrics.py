"""`/metrics` of a server of several workers, and while the log is away."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import cast

import pytest

from roomcast.api.answer import Answer
from roomcast.api.request import Request
from roomcast.delivery.engine import Engine
from roomcast.http.metrics import TOPIC, collect, metrics, share
from roomcast.log.base import Bounds
from roomcast.log.remote import exchange
from roomcast.log.remote.link import Link
from roomcast.log.remote.peers import WorkerPeers
from roomcast.log.remote.server import LogServer
from roomcast.model.errors import LogUnavailable
from roomcast.model.settings import Settings
from roomcast.serve.workers.orders import Past
from roomcast.serve.workers.retired import RetiredCounts
from tests.log.steps import until


async def text_of(engine: Engine) -> list[str]:
    answer = await metrics(engine, cast(Request, None), None)
    assert isinstance(answer, Answer)
    return answer.body.decode().splitlines()


class Server:
    """Two workers of one server, each with a log of its own, over a log process that only passes messages on."""

    def __init__(self) -> None:
        self.kept: list[object] = []
        self.workers: dict[int, tuple[Engine, Link]] = {}
        self.start_log_process(Past())

    def start_log_process(self, past: Past) -> None:
        self.log_process = LogServer(None)
        RetiredCounts(past, self.kept.append).join(self.log_process.exchange, TOPIC)

    async def start(self, number: int, restarts: int = 0) -> Engine:
        link = Link()
        peers = WorkerPeers(link, number, 2, restarts)
        engine = await Engine.over(SETTINGS, await Engine.log_of(SETTINGS), peers)
        share(engine)
        self.workers[number] = engine, link
        await self.connect(number)
        return engine

    async def connect(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        await self.log_process.connect(number, theirs)
        await self.workers[number][1].connect(ours)
        await self.until_present()

    async def until_present(self) -> None:
        """Waits until each connected worker knows the others."""
        connected = {number for number, (_, link) in self.workers.items() if link.is_connected}
        peers = [self.workers[number][0].worker_group.peers for number in connected]

        async def are_present() -> bool:
            return all(peer and {peer.number, *peer.others} == connected for peer in peers)

        await until(are_present)

    async def cut(self, *numbers: int) -> None:
        """Cuts connections, as the exchange does with workers that read nothing."""
        for number in numbers:
            self.log_process.exchange._all[number].abort()

        async def are_cut() -> bool:
            return not any(self.workers[number][1].is_connected for number in numbers)

        await until(are_cut)
        await self.until_present()

    async def kill(self, number: int) -> None:
        await self.cut(number)
        await self.workers.pop(number)[0].close()

    async def replace_log_process(self) -> None:
        kept = [None, *self.kept][-1]  # it dies at once, and keeps nothing of the workers that it leaves
        await self.cut(*self.workers)
        self.start_log_process(Past(1, 1_000.0, kept))

    async def hang(self, number: int) -> None:
        """From now on the worker answers nothing."""
        peers = self.workers[number][0].worker_group.peers
        assert peers
        peers.when_asked(TOPIC, lambda _: asyncio.Event().wait())


SETTINGS = Settings(log="memory:")
PUBLISHED = "roomcast_messages_published_total"


def value(text: list[str], name: str) -> float | None:
    found = [line.rpartition(" ")[2] for line in text if line.startswith(f"{name} ")]
    return float(found[0]) if found else None


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Server]:
    monkeypatch.setattr(exchange, "_REPLY_SECONDS", 0.1)
    server = Server()
    for number, published in ((1, 3), (2, 4)):
        (await server.start(number)).published = published
    yield server
    for engine, link in server.workers.values():
        link.close()
        await engine.close()


async def published(server: Server, number: int = 1) -> float | None:
    return value(await text_of(server.workers[number][0]), PUBLISHED)


async def test_each_worker_answers_with_the_metrics_of_all(server: Server) -> None:
    await server.kill(2)
    (await server.start(2, restarts=1)).published = 4
    for engine, _ in server.workers.values():
        found = await text_of(engine)
        assert value(found, PUBLISHED) == 7
        assert value(found, 'roomcast_worker_restarts_total{worker="2"}') == 1


async def test_the_counts_of_a_worker_that_does_not_answer_stay_as_they_were_shown(server: Server) -> None:
    assert await published(server) == 7
    await server.hang(2)
    server.workers[1][0].published += 1
    found = await text_of(server.workers[1][0])
    assert value(found, PUBLISHED) == 8
    assert value(found, 'roomcast_worker_followers{worker="2"}') is None


async def test_a_worker_that_is_cut_and_connects_again_is_counted_once(server: Server) -> None:
    assert await published(server) == 7
    await server.cut(2)
    assert await published(server) == 7
    await server.connect(2)
    assert [await published(server, number) for number in (1, 2)] == [7, 7]


async def test_the_counts_of_dead_workers_outlive_the_log_process(server: Server) -> None:
    assert await published(server) == 7
    await server.kill(2)
    assert await published(server) == 7
    (await server.start(2, restarts=1)).published = 1
    assert await published(server) == 8
    await server.kill(2)
    (await server.start(2, restarts=2)).published = 1
    assert [await published(server, number) for number in (1, 2)] == [9, 9]
    await server.replace_log_process()
    for number in server.workers:
        await server.connect(number)
    text = await text_of(server.workers[1][0])
    assert value(text, PUBLISHED) == 9
    assert (value(text, "process_cpu_seconds_total") or 0) > 1_000, "that of dead log processes counts, too"


async def test_no_counter_is_shown_while_those_of_another_worker_are_unknown(server: Server) -> None:
    """Prometheus takes a missing one for a gap, and a smaller one for a restart."""
    assert await published(server) == 7
    await server.replace_log_process()
    found = await text_of(server.workers[1][0])
    assert (value(found, PUBLISHED), value(found, "roomcast_followers")) == (None, 0)
    assert value(found, "roomcast_append_seconds_count") is None
    await server.hang(2)
    for number in server.workers:
        await server.connect(number)
    assert await published(server) is None
    await server.kill(2)
    (await server.start(2, restarts=1)).published = 5
    assert await published(server) == 8


async def test_while_the_log_is_away_the_process_still_has_its_metrics(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bounds() -> Bounds:
        raise LogUnavailable("away")

    monkeypatch.setattr(engine.log, "bounds", bounds)
    names = {family.name for family in await collect(engine)}
    assert "roomcast_followers" in names
    assert "roomcast_log_messages" not in names
