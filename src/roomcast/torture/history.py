"""The history, read page by page from the beginning of the attack."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from roomcast.torture.record import Position, Record
from roomcast.torture.target import RawAnswer, Target, Unusable
from roomcast.torture.transcript import Transcript, page_events

_BACKWARDS = 97
"""Messages of a page when it is read backwards: another size, so that pages begin and end elsewhere."""


class History:
    """The history of a server. If the server does not answer, `position` raises `OSError` at its first attempt.
    The other methods try again for `patience` seconds first."""

    def __init__(self, target: Target, record: Record, patience: float) -> None:
        self._target = target
        self._record = record
        self._patience = patience

    async def position(self, room: str) -> str:
        """Returns the log's position as an id, from a page of `room`. Raises `Unusable` if this is not a roomcast
        server."""
        answer = await self._target.get(f"/messages?{urlencode({'room': room, 'limit': 1})}")
        try:
            position = str(answer.json["position"])
            Position.parse(position)
        except (ValueError, KeyError, TypeError):
            raise Unusable(
                f"/messages is answered with {answer.status} and no history: check that the URL is a roomcast "
                "server's own, and that no ROOMCAST_TOKEN or --header is missing"
            ) from None
        return position

    async def read_forwards(self, room: str, start: str) -> Sequence[int]:
        """Returns the seqs of the messages of `room` after the id `start`, and judges whether any is missing."""
        transcript = Transcript(self._record, f"the history of {room}", [room], start)
        while not self._record.epoch_changed:
            page = await self._page(room, after=transcript.last_id, limit=1000)
            transcript.begin()
            for event in page_events(page):
                transcript.hear(event)
            if not page["messages"]:
                break
        transcript.position = max(transcript.position, self._record.newest(room))
        transcript.judge()
        transcript.judge_deleted(room)
        return list(transcript.seqs[room])

    async def check_backwards(self, room: str, forwards: Sequence[int]) -> None:
        """Reads the history of `room` backwards, and compares it with the end of `forwards`: more may be trimmed
        by now."""
        seqs: list[int] = []
        end = ""
        while not self._record.epoch_changed:
            page = await self._page(room, **({"before": end} if end else {"replay": _BACKWARDS}), limit=_BACKWARDS)
            if not page["messages"]:
                break
            seqs[:0] = [self._record.identify(message) for message in page["messages"]]
            end = page["messages"][0]["id"]
        if seqs != list(forwards[len(forwards) - len(seqs) :]):
            self._record.violate(f"the history of {room} differs when it is read backwards")

    async def retained(self) -> int:
        """Returns how many messages the rooms of the first page have now."""
        rooms = (await self._get("/rooms")).json["rooms"]
        return sum(int(room["messages"]) for room in rooms)

    async def _page(self, room: str, **query: Any) -> Any:
        return (await self._get(f"/messages?{urlencode({'room': room, **query})}")).json

    async def _get(self, path: str) -> RawAnswer:
        """Sends a GET, and retries it: a server that is away for a while breaks no promise."""
        end = asyncio.get_running_loop().time() + self._patience
        while True:
            try:
                answer = await self._target.get(path)
                if answer.status == 200:
                    return answer
                raise ConnectionError(f"{path} is answered with {answer.status}")
            except (OSError, TimeoutError, ValueError):
                if asyncio.get_running_loop().time() > end:
                    raise
            await asyncio.sleep(0.1)
