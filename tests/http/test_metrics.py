"""`/metrics` of a server of several workers, and while the log is away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import pytest

from roomcast.api.answer import Answer
from roomcast.api.request import Request
from roomcast.delivery.engine import Engine
from roomcast.http.metrics import collect, metrics, share
from roomcast.log.base import Bounds
from roomcast.model.errors import LogUnavailable
from roomcast.model.settings import Settings
from tests.delivery.peers import Linked, linked


async def text_of(engine: Engine) -> list[str]:
    answer = await metrics(engine, cast(Request, None), None)
    assert isinstance(answer, Answer)
    return answer.body.decode().splitlines()


@pytest.fixture
async def workers() -> AsyncIterator[list[tuple[Linked, Engine]]]:
    """Two workers of one server, each with a log of its own."""
    peers = linked(2)
    settings = Settings(log="memory:")
    engines = [await Engine.over(settings, await Engine.log_of(settings), peer) for peer in peers]
    for engine in engines:
        share(engine)
    yield list(zip(peers, engines, strict=True))
    for engine in engines:
        await engine.close()


async def test_each_worker_answers_with_the_metrics_of_all(workers: list[tuple[Linked, Engine]]) -> None:
    (_, first), (peer, second) = workers
    first.published, second.published = 3, 4
    peer.restarts = 1
    for engine in (first, second):
        found = await text_of(engine)
        assert "roomcast_messages_published_total 7.0" in found
        assert 'roomcast_worker_restarts_total{worker="2"} 1.0' in found


async def test_a_worker_that_does_not_answer_is_left_out(workers: list[tuple[Linked, Engine]]) -> None:
    (_, first), (peer, second) = workers
    first.published, second.published = 3, 4
    peer.hangs = True
    assert "roomcast_messages_published_total 3.0" in await text_of(first)


async def test_while_the_log_is_away_the_process_still_has_its_metrics(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bounds() -> Bounds:
        raise LogUnavailable("away")

    monkeypatch.setattr(engine.log, "bounds", bounds)
    names = {family.name for family in await collect(engine)}
    assert "roomcast_followers" in names
    assert "roomcast_log_messages" not in names
