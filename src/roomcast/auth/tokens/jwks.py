"""An issuer's keys that are fetched from its address, and kept.

Nothing waits for a fetch. A token whose key may come with it is answered like one that cannot be judged now: its
client comes back. A fetch that fails takes nothing away.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from roomcast.auth.leeway import LEEWAY_SECONDS
from roomcast.auth.tokens.bad import BadToken, KeysAway
from roomcast.auth.tokens.fetch import CannotFetch, Fetched, fetch
from roomcast.auth.tokens.jose import Key
from roomcast.auth.tokens.ring import named

AGAIN_SECONDS = 60.0
"""How far apart fetches are at least, whatever tokens come meanwhile."""
OUTLIVES_SECONDS = 86_400.0
"""How long keys are good after they should have been fetched again."""

logger = logging.getLogger("roomcast.server")


class Jwks:
    """The keys of one issuer."""

    def __init__(
        self,
        url: str,
        get: Callable[[str], Awaitable[Fetched]] = fetch,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`changed` is called when keys are there that were not, or are not that were."""
        self.url = url
        self._get = get
        self.changed = changed
        self._keys: tuple[Key, ...] = ()
        self._known_since = 0.0
        """When the fetch that these keys are of was begun, in seconds since 1970."""
        self._fresh_until = 0.0
        """When they are to be fetched again."""
        self._tried_at: float | None = None
        """When a fetch was begun last."""
        self._failed = False
        """Whether that one has failed."""
        self._fetching: asyncio.Task[None] | None = None

    def has(self, id: str) -> bool:
        """See `Source`. Before the first fetch nobody knows."""
        return not self._keys or any(key.id == id for key in self._keys)

    def candidates(self, algorithm: str, kid: str | None, issued: float | None, now: float) -> Sequence[Key]:
        """See `Source`. Begins a fetch where one is due, or where it may bring the key."""
        if now >= self._fresh_until:
            self.refresh(now)
        known = self._keys if now < self._fresh_until + OUTLIVES_SECONDS else ()
        if found := named(known, algorithm, kid):
            return found
        if kid is not None and any(key.kid == kid for key in known):
            raise BadToken(f"the key {kid!r:.80} is not for {algorithm}")
        self.refresh(now)
        if self._may_come(issued):
            raise KeysAway
        raise BadToken(
            f"unknown kid {kid!r:.80}" if kid is not None else "no kid, and not one key alone that fits"
        )

    def check_newer(self, kid: str | None, issued: float | None, now: float) -> None:
        """See `Source`. Providers whose tokens have no `kid` change their keys, too; a name means one key."""
        if kid is None:
            self.refresh(now)
            if self._may_come(issued):
                raise KeysAway

    def prefetch(self) -> None:
        """Begins a fetch, whatever is known: somebody has just said what the configuration is."""
        self.refresh(time.time())

    def refresh(self, now: float) -> None:
        """Begins a fetch, unless one was begun within the last minute."""
        if self._fetching is None and (self._tried_at is None or now - self._tried_at >= AGAIN_SECONDS):
            self._tried_at = now
            self._fetching = asyncio.get_running_loop().create_task(self._refresh(now))
            self._fetching.add_done_callback(self._end)

    async def fetched(self) -> None:
        """Returns when no fetch is under way."""
        while self._fetching is not None:
            await asyncio.wait([self._fetching])

    def take_over(self, other: Jwks) -> None:
        """What another one of the same address knows."""
        self._keys, self._known_since, self._fresh_until = other._keys, other._known_since, other._fresh_until

    def close(self) -> None:
        """Ends what is under way."""
        if self._fetching:
            self._fetching.cancel()

    def _may_come(self, issued: float | None) -> bool:
        """Whether the key of a token that was issued then may be one that a fetch brings.

        The one that signs since a moment ago is not refused for having come first: a browser that is refused never
        asks again. So a token is only refused where the keys were fetched after it was issued."""
        if self._fetching or self._failed or not self._known_since:
            return True
        return issued is None or issued + LEEWAY_SECONDS >= self._known_since

    async def _refresh(self, began: float) -> None:
        try:
            found = await self._get(self.url)
        except CannotFetch as error:
            self._failed = True
            left = self._fresh_until + OUTLIVES_SECONDS - time.time()
            kept = f"those that are known are good for {left / 3600:.0f} h more" if left > 0 else "none is known"
            logger.warning("the keys at %s cannot be had (%s): %s", self.url, error, kept)
        except Exception:
            self._failed = True
            logger.exception("the keys at %s cannot be had, by a mistake of roomcast", self.url)
        else:
            self._take(found, began)

    def _end(self, fetching: asyncio.Task[None]) -> None:
        """Also of one that was cancelled before it had begun."""
        self._fetching = None

    def _take(self, found: Fetched, began: float) -> None:
        before = self._keys
        self._keys, self._failed, self._known_since = found.keys, False, began
        self._fresh_until = began + found.seconds
        for why in found.passed_over:
            logger.warning("of the keys at %s, one is not taken: %s", self.url, why)
        if found.keys != before:
            logger.info("the keys at %s: %s", self.url, ", ".join(sorted(repr(key.kid) for key in found.keys)))
            self.changed()
