"""A language model's answers that survive a lost connection: each has a room of its own, which pages read.

    Run it:        uvicorn --app-dir examples --timeout-graceful-shutdown 5 answers:app
    Ask:           curl -d 'Why is the sky blue?' http://localhost:8000/runs
    Follow:        curl -N 'http://localhost:8000/live/messages?room=run/ID'

Open http://localhost:8000, ask, and reload the page in the middle. docs/howto/answers.md explains it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route

import roomcast

PAUSE = 0.05
"""Seconds between two messages: short enough to look continuous; a message for each token would cost far more."""
# A room can be read by everybody who knows its name, which cannot be guessed. Nobody can publish over HTTP.
live = roomcast.app(log="sqlite:answers.db", routes=("follow", "module"), max_age=86_400)
live.drain_on_signal()
runs: set[asyncio.Task[None]] = set()


async def model(question: str) -> AsyncIterator[str]:
    """Stands for a language model: put your model's stream of tokens here."""
    for number in range(1, 101):
        yield f"{number} "
        await asyncio.sleep(0.02)
    yield f"thoughts on: {question}"


async def answer(room: str, question: str) -> None:
    """Streams the answer into its room, whether somebody reads it or not."""
    chunks: list[str] = []
    flushing = asyncio.create_task(flush(room, chunks))
    try:
        async for token in model(question):
            chunks.append(token)
        ending = "done"
    except Exception:
        ending = "failed"
    flushing.cancel()
    await asyncio.gather(flushing, return_exceptions=True)
    await say(room, chunks)
    await live.publish(room, type=ending, data={})


async def flush(room: str, chunks: list[str]) -> None:
    """Publishes the chunks that have come, at most twenty times a second."""
    while True:
        await asyncio.sleep(PAUSE)
        await asyncio.shield(say(room, chunks))


async def say(room: str, chunks: list[str]) -> None:
    if chunks:
        text = "".join(chunks)
        chunks.clear()
        await live.publish(room, data={"chunk": text})


async def ask(request: Request) -> Response:
    """Begins an answer, and returns the name of its room."""
    run = secrets.token_urlsafe(16)
    question = (await request.body()).decode()
    task = asyncio.create_task(answer(f"run/{run}", question))
    runs.add(task)  # asyncio itself keeps no task alive
    task.add_done_callback(runs.discard)
    return JSONResponse({"run": run}, 202)


async def page(request: Request) -> Response:
    return FileResponse(Path(__file__).with_name("answers.html"))


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    async with live:
        yield
        for task in runs:
            task.cancel()
        await asyncio.gather(*runs, return_exceptions=True)


app = Starlette(
    routes=[Route("/", page), Route("/runs", ask, methods=["POST"]), Mount("/live", live)], lifespan=lifespan
)
