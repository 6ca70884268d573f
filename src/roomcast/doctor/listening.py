"""Follows a stream and records when each item arrived."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx

from roomcast.client.decode import Comment, Decoder, Event, Item, Retry
from roomcast.doctor.site import Site


@dataclass
class Heard:
    """The items of a stream, each with the seconds since the request was sent."""

    answer: httpx.Response | None = None
    """None if not even a head arrived."""
    head_after: float = 0.0
    items: list[tuple[float, Item]] = field(default_factory=list)
    lasted: float = 0.0
    """Seconds from the head until the stream ended or listening stopped."""
    ended: bool = False
    """Whether the other side ended it."""
    failure: str = ""
    """Why there is no answer."""

    @property
    def events(self) -> list[tuple[float, Event]]:
        return [(at, item) for at, item in self.items if isinstance(item, Event)]

    @property
    def heartbeats(self) -> list[float]:
        return [at for at, item in self.items if isinstance(item, Comment)]

    @property
    def sent_away(self) -> bool:
        """Whether the server ended it with a retry delay."""
        retries = [item for _, item in self.items if isinstance(item, Retry)]
        return self.ended and (len(retries) > 1 or (bool(retries) and not self.events))


def has_event(heard: Heard) -> bool:
    """Whether an event arrived."""
    return bool(heard.events)


async def listen(
    site: Site,
    seconds: float,
    enough: Callable[[Heard], bool] = lambda heard: False,
    *,
    resumes: str = "",
    **headers: str,
) -> Heard:
    """Follows the site's room for `seconds`, or until `enough` returns True. `resumes` is an id to resume from,
    sent in the URL. Never raises `httpx.HTTPError`."""
    heard = Heard()
    opened = began = time.monotonic()

    async def trace(name: str, info: object) -> None:
        nonlocal began
        if name.endswith("send_request_body.complete"):
            began = time.monotonic()

    asked = {"Accept": "text/event-stream", "Accept-Encoding": "gzip", "Cache-Control": "no-cache"}
    asked |= {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        async with asyncio.timeout(seconds) as limit, site.client() as client:
            query = {"room": site.room, "replay": "none", **({"last_event_id": resumes} if resumes else {})}
            async with client.stream(
                "GET", "/messages", params=query, headers=asked, timeout=seconds + 1, extensions={"trace": trace}
            ) as answer:
                opened = time.monotonic()
                limit.reschedule(asyncio.get_running_loop().time() + seconds)
                heard.answer, heard.head_after = answer, opened - began
                if not answer.is_success:
                    await answer.aread()
                    return heard
                if enough(heard):
                    return heard
                decoder = Decoder()
                async for data in answer.aiter_bytes():
                    now = time.monotonic() - began
                    heard.items += [(now, item) for item in decoder.feed(data)]
                    if enough(heard):
                        return heard
        heard.ended = True
    except TimeoutError:
        pass
    except httpx.HTTPError as error:
        heard.ended = not isinstance(error, httpx.ReadTimeout)
        heard.failure = str(error) or type(error).__name__
    finally:
        heard.lasted = time.monotonic() - opened
    return heard
