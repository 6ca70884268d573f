"""FastAPI's own server-sent events (0.135 and newer) under uvicorn, as its documentation shows them."""

from collections.abc import AsyncIterable

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel

from benchmarks.servers.audience import Audience

app = FastAPI()


class Message(BaseModel):
    """The posted message, which followers receive."""

    text: str
    room: str


audience: Audience[Message] = Audience()


@app.get("/messages", response_class=EventSourceResponse)
async def _follow(room: str) -> AsyncIterable[Message]:
    with audience.joined(room) as queue:
        while True:
            yield await queue.get()


@app.post("/messages", status_code=201)
async def _publish(message: Message) -> None:
    audience.tell(message.room, message)
