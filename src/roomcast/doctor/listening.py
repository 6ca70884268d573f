"""Follows a stream and records when each item arrived."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from roomcast.client.decode import Comment, Decoder, Endless, Event, Item, Retry
from roomcast.client.http import CONNECTED, TLS_FAILED
from roomcast.doctor.site import Site


@dataclass
class Recording:
    """The items of a stream, each with the seconds since the request was sent."""

    answer: httpx.Response | None = None
    """None if not even a head arrived."""
    head_after: float = 0.0
    """Seconds from the request to the answer's head."""
    items: list[tuple[float, Item]] = field(default_factory=list)
    lasted: float = 0.0
    """Seconds from the head until the stream ended or listening stopped."""
    ended: bool = False
    """Whether the other side ended it."""
    failure: str = ""
    """The error that ended it, before or after the answer's head; empty if there was none."""

    @property
    def events(self) -> list[tuple[float, Event]]:
        """The events, each with its seconds."""
        return [(at, item) for at, item in self.items if isinstance(item, Event)]

    @property
    def heartbeats(self) -> list[float]:
        """The seconds of each comment."""
        return [at for at, item in self.items if isinstance(item, Comment)]

    @property
    def sent_away(self) -> bool:
        """Whether the server ended it with a retry delay."""
        retries = [item for _, item in self.items if isinstance(item, Retry)]
        return self.ended and (len(retries) > 1 or (bool(retries) and not self.events))


def has_event(recording: Recording) -> bool:
    """Whether the `recording` has an event: for `enough` of `listen`."""
    return bool(recording.events)


async def listen(
    site: Site,
    seconds: float,
    enough: Callable[[Recording], bool] = lambda recording: False,
    *,
    resumes: str = "",
    **headers: str,
) -> Recording:
    """Follows the site's room for `seconds` after the answer's head, or until `enough` returns True. `resumes` is
    an id to resume from, sent in the URL; `headers` are sent, with `_` for `-`. Never raises `httpx.HTTPError` or
    `Endless`."""
    recording, watch = Recording(), _Stopwatch()
    query = {"room": site.room, "replay": "none", **({"last_event_id": resumes} if resumes else {})}
    sent = {"Accept": "text/event-stream", "Accept-Encoding": "gzip", "Cache-Control": "no-cache"}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        async with (
            asyncio.timeout(seconds) as limit,
            site.client() as client,
            client.stream(
                "GET",
                "/messages",
                params=query,
                headers=[(name.encode(), value.encode()) for name, value in sent.items()],
                timeout=seconds + 1,
                extensions={"trace": watch.trace},
            ) as answer,
        ):
            recording.answer, recording.head_after = answer, watch.since_request()
            limit.reschedule(asyncio.get_running_loop().time() + seconds)
            recording.ended = await _record(recording, answer, watch, enough)
    except TimeoutError:
        pass
    except (httpx.HTTPError, Endless) as error:
        recording.ended = not isinstance(error, httpx.ReadTimeout)
        recording.failure = str(error) or type(error).__name__
    finally:
        recording.lasted = watch.since_request() - recording.head_after
    return recording


async def _record(
    recording: Recording, answer: httpx.Response, watch: _Stopwatch, enough: Callable[[Recording], bool]
) -> bool:
    """Records the items until there are `enough`. Returns whether the other side ended the stream."""
    if not answer.is_success:
        await answer.aread()
        return False
    if enough(recording):
        return False
    decoder = Decoder()
    async for data in answer.aiter_bytes():
        now = watch.since_request()
        recording.items += [(now, item) for item in decoder.feed(data)]
        if enough(recording):
            return False
    return True


class _Stopwatch:
    """Measures from the moment at which the request was sent, and not from the opening of its connection. Closes a
    connection whose TLS handshake the time limit cancels."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._network: Any = None
        """httpcore's object for the connection."""

    async def trace(self, name: str, info: dict[str, Any]) -> None:
        """httpx calls it with each step of a request."""
        if name.endswith(CONNECTED):
            self._network = info["return_value"]
        elif name.endswith(TLS_FAILED) and self._network:
            await self._network.aclose()
        elif name.endswith("send_request_body.complete"):
            self._began = time.monotonic()

    def since_request(self) -> float:
        """Seconds since the request was sent."""
        return time.monotonic() - self._began
