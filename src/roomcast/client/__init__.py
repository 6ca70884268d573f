"""The client: `AsyncClient` for an event loop, `Client` for threads; `roomcast.client.sse` for servers of other
kinds.

    async with AsyncClient("http://localhost:8080") as client:
        async for message in client.follow("developers", since="10m"):
            print(message)

Nothing of the server is imported here.
"""

from roomcast.client.awaiting import AsyncClient, AsyncFollower
from roomcast.client.blocking import Client, Follower
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
from roomcast.client.source import Pause
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
