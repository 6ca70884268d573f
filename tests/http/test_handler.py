"""Outcomes that are not the route's: bugs, unknown outcomes, and answers for which there is no memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from roomcast.delivery.budget import SMALL_BYTES
from roomcast.http.context import Context
from roomcast.http.fast_path import FastPath
from roomcast.log.base import Appended
from roomcast.model.errors import OutcomeUnknown
from tests.delivery.fakes import until
from tests.http.clients import PUBLISH, Client, answered
from tests.http.test_exchange import PAGE

OPENAPI = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
METRICS = OPENAPI.replace(b"/openapi.json", b"/metrics")


async def test_a_publish_whose_outcome_is_unknown_has_no_answer_and_is_counted(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = context.handler._engine
    future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()

    def append(*_: Any) -> asyncio.Future[Appended]:
        asyncio.get_running_loop().call_soon(future.set_exception, OutcomeUnknown("the log process ended"))
        return future

    monkeypatch.setattr(engine.log, "append", append)
    client = await answered(context, PUBLISH)
    assert (client.aborted, client.written, engine.closed["log"]) == (True, b"", 1)


@pytest.mark.parametrize(("request_", "name"), [(PUBLISH, "append"), (PAGE, "read")], ids=["a call", "a task"])
async def test_a_bug_is_logged_and_answered_without_its_text(
    context: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, request_: bytes, name: str
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a detail of ours")

    monkeypatch.setattr(context.handler._engine.log, name, broken)
    client = await answered(context, request_)
    assert client.written.startswith(b"HTTP/1.1 500 ")
    assert b"see the server's log" in client.written
    assert b"a detail of ours" not in client.written
    assert "a detail of ours" in caplog.text
    assert context.handler._engine.refusals["defect"] == 1


async def test_metrics_of_any_size_are_sent_when_other_answers_use_the_memory(context: Context) -> None:
    answers, requests = context.handler.answers, context.handler._engine.requests
    requests.update({("GET", status): 1 for status in range(1_000)})
    other = answers.reserve(answers.limit)
    client = await answered(context, METRICS)
    assert client.written.startswith(b"HTTP/1.1 200 ")
    assert len(client.written) > SMALL_BYTES
    other.release()


async def test_metrics_that_are_not_taken_are_counted(context: Context) -> None:
    answers = context.handler.answers
    connection, client = FastPath(context), Client()
    connection.connection_made(client)
    connection.pause_writing()
    client.unread = 20_000
    connection.data_received(METRICS)
    await until(lambda: client.written)
    assert answers.used == 20_000
    connection.resume_writing()
    assert answers.used == 0


async def test_a_large_answer_is_refused_when_other_answers_use_the_memory(context: Context) -> None:
    answers = context.handler.answers
    other = answers.reserve(answers.limit)
    client = await answered(context, OPENAPI)
    assert client.written.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: " in client.written
    other.release()
    assert (await answered(context, OPENAPI)).written.startswith(b"HTTP/1.1 200 ")
