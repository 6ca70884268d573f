"""The client: `AsyncClient` for an event loop, `Client` for threads. `roomcast.client.sse` follows any server.

    async with AsyncClient("http://localhost:8080") as client:
        async for message in client.follow("developers", since="10m"):
            print(message)

It imports nothing of the server.
"""

from roomcast.client.awaiting.client import AsyncClient
from roomcast.client.awaiting.follower import AsyncFollower
from roomcast.client.blocking.client import Client
from roomcast.client.blocking.follower import Follower
from roomcast.client.errors import Refused, TooMuch, Unreachable
from roomcast.client.messages import (
    FollowerInfo,
    Followers,
    Gap,
    IssuedTicket,
    Live,
    Message,
    Page,
    Publication,
    Room,
    Stored,
)
from roomcast.client.stream_state import Pause
from roomcast.model.errors import Forbidden, Unauthenticated

__all__ = [
    "AsyncClient",
    "AsyncFollower",
    "Client",
    "Follower",
    "FollowerInfo",
    "Followers",
    "Forbidden",
    "Gap",
    "IssuedTicket",
    "Live",
    "Message",
    "Page",
    "Pause",
    "Publication",
    "Refused",
    "Room",
    "Stored",
    "TooMuch",
    "Unauthenticated",
    "Unreachable",
]
