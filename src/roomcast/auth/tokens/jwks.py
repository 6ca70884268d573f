"""An issuer's keys, fetched from its URL and cached.

No request waits for a fetch. If a fetch may bring a token's key, its client is asked to retry later. A failed
fetch removes no keys.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from roomcast.auth.leeway import LEEWAY_SECONDS
from roomcast.auth.tokens.bad import BadToken, KeysUnavailable
from roomcast.auth.tokens.fetch import CannotFetch, Fetched, fetch
from roomcast.auth.tokens.jose import VerifyingKey
from roomcast.auth.tokens.ring import with_kid

AGAIN_SECONDS = 60.0
"""Minimum time between two fetches, whatever tokens arrive meanwhile."""
OUTLIVES_SECONDS = 86_400.0
"""How long keys stay valid after the next fetch was due."""

logger: logging.Logger = logging.getLogger("roomcast.server")


class Jwks:
    """The keys of one issuer."""

    def __init__(self, url: str, get: Callable[[str], Awaitable[Fetched]] = fetch) -> None:
        """`get` fetches the keys of a URL."""
        self.url = url
        self._get = get
        self.changed: Callable[[], None] = lambda: None
        """Called when keys were added or removed."""
        self._keys: tuple[VerifyingKey, ...] = ()
        self._known_since = 0.0
        """When the fetch that brought these keys began, in seconds since 1970."""
        self._fresh_until = 0.0
        """When the next fetch is due, in seconds since 1970."""
        self._tried_at: float | None = None
        """When the last fetch began."""
        self.failed: bool = False
        """Whether the last fetch failed."""
        self._fetching: asyncio.Task[None] | None = None

    def has(self, id: str) -> bool:
        """See `KeySource`. Before the first fetch every `id` is accepted."""
        return not self._keys or any(key.id == id for key in self._keys)

    def candidates(self, algorithm: str, kid: str | None, first_sent: float, now: float) -> Sequence[VerifyingKey]:
        """See `KeySource`. Begins a fetch if one is due at `now`, or if it may bring a key for `algorithm` and
        `kid`. A token with an unknown key is refused with `BadToken` only if the keys were fetched after
        `first_sent`. A token whose `kid` names a key for another algorithm is refused in any case."""
        self.refresh_if_due(now)
        known = self._keys if now < self._fresh_until + OUTLIVES_SECONDS else ()
        if found := with_kid(known, algorithm, kid):
            return found
        if kid is not None and any(key.kid == kid for key in known):
            raise BadToken(f"the key {kid!r:.80} is not for {algorithm}")
        self._fetch_for(first_sent, now)
        raise BadToken(
            f"unknown kid {kid!r:.80}" if kid is not None else "no kid, and not exactly one key for its algorithm"
        )

    def check_newer(self, kid: str | None, first_sent: float, now: float) -> None:
        """See `KeySource`. Begins a fetch at `now`, if one is allowed, only for a token without `kid`: a newer key
        of its issuer may have signed it. A `kid` names one key, so another fetch would not help. `first_sent` is
        as for `candidates`."""
        if kid is None:
            self._fetch_for(first_sent, now)

    def refresh(self, now: float) -> None:
        """Begins a fetch, even if the cached keys are fresh, unless one began within the last minute. `now` is
        seconds since 1970."""
        if self._fetching is None and (self._tried_at is None or now - self._tried_at >= AGAIN_SECONDS):
            self._tried_at = now
            self._fetching = asyncio.get_running_loop().create_task(self._refresh(now))
            self._fetching.add_done_callback(self._end)

    def refresh_if_due(self, now: float) -> None:
        """Begins a fetch if the keys are no longer fresh at `now`, as `refresh` does. Called once a second: a
        withdrawn key must be noticed even if no token comes that was not verified before."""
        if now >= self._fresh_until:
            self.refresh(now)

    async def fetched(self) -> None:
        """Waits until no fetch is under way."""
        while self._fetching is not None:
            await asyncio.wait([self._fetching])

    def copy_keys(self, other: Jwks) -> None:
        """Copies the keys of `other`, which has the same URL."""
        self._keys, self._known_since, self._fresh_until = other._keys, other._known_since, other._fresh_until

    def stop_fetching(self) -> None:
        """Cancels the fetch, if one is under way."""
        if self._fetching:
            self._fetching.cancel()

    def _fetch_for(self, first_sent: float, now: float) -> None:
        """Begins a fetch, if one is allowed, for a token that no known key can have signed. Raises
        `KeysUnavailable` if a fetch may bring its key.

        A token may arrive before the new key that signed it was fetched. It must not be refused, since a refused
        browser never asks again. So a token is only refused if the keys were fetched after it was first sent here.
        Its own `iat` does not count: nobody has verified it."""
        self.refresh(now)
        if self._fetching or self.failed or first_sent + LEEWAY_SECONDS >= self._known_since:
            raise KeysUnavailable

    async def _refresh(self, began: float) -> None:
        try:
            found = await self._get(self.url)
        except CannotFetch as error:
            self.failed = True
            left = self._fresh_until + OUTLIVES_SECONDS - time.time()
            kept = f"the cached ones are valid for {left / 3600:.0f} h more" if left > 0 else "none is cached"
            logger.warning(
                "cannot fetch the keys at %s (%s): %s. Open the URL from this machine to see why; "
                "it is tried again once a minute",
                *(self.url, error, kept),
            )
        except Exception:
            self.failed = True
            logger.exception("cannot fetch the keys at %s", self.url)
        else:
            self._take(found, began)

    def _end(self, fetching: asyncio.Task[None]) -> None:
        """Called for every fetch, even one that was cancelled before it ran."""
        self._fetching = None

    def _take(self, found: Fetched, began: float) -> None:
        before = self._keys
        self._keys, self.failed, self._known_since = found.keys, False, began
        self._fresh_until = began + found.seconds
        for why in found.ignored:
            logger.warning(
                "one of the keys at %s is ignored: %s. Its tokens are refused; ask the issuer to replace it",
                *(self.url, why),
            )
        if found.keys != before:
            logger.info("the keys at %s: %s", self.url, ", ".join(sorted(repr(key.kid) for key in found.keys)))
            self.changed()
