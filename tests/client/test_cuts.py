"""A thousand cuts and some restarts for each client, without a lost or doubled message."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from roomcast.client import AsyncClient, Client, Gap, Live, Message
from tests.client.proxy import BadProxy
from tests.conftest import Serve
from tests.running import PATIENCE, Running

FOLLOWERS = 10
CUTS = 1000
"""Cuts for each of the two clients."""
RESTARTS = 4
"""Restarts, evenly spread over the cuts; every second one drains."""
END = "the end of it"
HEARTBEAT = 0.2
LETTERS = "aä€😀\n\u2028"


class Heard:
    """The messages that one follower got."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.gaps: list[Gap] = []

    def hear(self, item: Message | Gap | Live) -> bool:
        """Whether more messages are expected."""
        if isinstance(item, Gap):
            self.gaps.append(item)
        elif isinstance(item, Message):
            assert item.text is not None
            self.texts.append(item.text)
        return self.texts[-1:] != [END]


@asynccontextmanager
async def cutting(server: Running, seed: int) -> AsyncIterator[BadProxy]:
    proxy = BadProxy(seed, 300, 4000)
    await proxy.start(server.port)
    yield proxy
    await proxy.stop()


async def publish_among_cuts(
    proxy: BadProxy, restart: Callable[[bool], object], client: AsyncClient, seed: int
) -> list[str]:
    """Publishes batches at a steady pace until there were enough cuts, then a last message. The texts have
    characters of one to four bytes."""
    chance, texts = random.Random(seed), list[str]()
    end = time.monotonic() + 6 * PATIENCE
    restarts = 0
    while proxy.cuts < CUTS:
        assert time.monotonic() < end, "too few cuts"
        if proxy.cuts > (restarts + 1) * CUTS // (RESTARTS + 1):
            restarts += 1
            await asyncio.to_thread(restart, restarts % 2 == 0)
        batch = [
            f"{len(texts) + n} " + "".join(chance.choices(LETTERS, k=40)) for n in range(chance.randint(1, 8))
        ]
        await client.publish_batch([{"room": "developers", "text": text} for text in batch])
        texts += batch
        await asyncio.sleep(0.02)
    proxy.lenient = True
    await client.publish("developers", text=END)
    return [*texts, END]


class Restarting:
    """A server that restarts on the same port with the same log."""

    def __init__(self, serve: Serve) -> None:
        self._serve = serve
        self._options = (f"--heartbeat={HEARTBEAT}", "--max-messages=100000")
        self.running = serve(*self._options)

    def restart(self, with_a_word: bool) -> None:
        """Stops the server by a drain or by a kill, and starts it again."""
        if with_a_word:
            self.running.terminate()
        else:
            self.running.kill()
        self.running = self._serve(*self._options, f"--port={self.running.port}")


async def test_the_async_client_loses_and_doubles_nothing_over_a_thousand_cuts(serve: Serve) -> None:
    server = Restarting(serve)
    heard = [Heard() for _ in range(FOLLOWERS)]

    async def follow(client: AsyncClient, one: Heard) -> None:
        async for item in client.follow("developers"):
            if not one.hear(item):
                return

    async with (
        cutting(server.running, 1) as proxy,
        AsyncClient(server.running.url) as direct,
        AsyncClient(proxy.url, heartbeat=HEARTBEAT, max_delay=0.01) as client,
    ):
        following = [asyncio.create_task(follow(client, one)) for one in heard]
        texts = await publish_among_cuts(proxy, server.restart, direct, 1)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*following)
    _check(heard, texts, proxy)


async def test_the_sync_client_loses_and_doubles_nothing_over_a_thousand_cuts(serve: Serve) -> None:
    server = Restarting(serve)
    heard = [Heard() for _ in range(FOLLOWERS)]
    async with cutting(server.running, 2) as proxy, AsyncClient(server.running.url) as direct:
        client = Client(proxy.url, heartbeat=HEARTBEAT, max_delay=0.01)

        def follow(one: Heard) -> None:
            with client.follow("developers") as stream:
                for item in stream:
                    if not one.hear(item):
                        return

        threads = [threading.Thread(target=follow, args=[one], daemon=True) for one in heard]
        for thread in threads:
            thread.start()
        texts = await publish_among_cuts(proxy, server.restart, direct, 2)
        for thread in threads:
            await asyncio.to_thread(thread.join, PATIENCE)
        client.close()
    _check(heard, texts, proxy)


def _check(heard: list[Heard], texts: list[str], proxy: BadProxy) -> None:
    for one in heard:
        assert one.texts == texts
        assert one.gaps == []
    assert proxy.cuts >= CUTS
    assert min(proxy.endings[ending] for ending in proxy.ENDINGS) > 0, proxy.endings


@pytest.mark.parametrize("end", ["kill", "terminate"])
async def test_both_clients_survive_restarts_of_the_server(serve: Serve, end: str) -> None:
    server = serve()
    heard = [Heard(), Heard()]

    async def follow(client: AsyncClient) -> None:
        async for item in client.follow("developers"):
            if not heard[0].hear(item):
                return

    def follow_in_a_thread(client: Client) -> None:
        for item in client.follow("developers"):
            if not heard[1].hear(item):
                return

    texts = []
    async with (
        AsyncClient(server.url, max_delay=0.02) as client,
        AsyncClient(server.url) as publisher,
    ):
        blocking = Client(server.url, max_delay=0.02)
        following = asyncio.create_task(follow(client))
        thread = threading.Thread(target=follow_in_a_thread, args=[blocking], daemon=True)
        thread.start()
        for n in range(3):
            texts.append(f"{n}")
            publishing = asyncio.create_task(publisher.publish("developers", text=texts[-1]))
            if n:
                await asyncio.to_thread(getattr(server, end))
                server = await asyncio.to_thread(serve, f"--port={server.port}")
            await publishing
        await publisher.publish("developers", text=END)
        async with asyncio.timeout(PATIENCE):
            await following
        await asyncio.to_thread(thread.join, PATIENCE)
        blocking.close()
    for one in heard:
        assert one.texts == [*texts, END]
        assert one.gaps == []
