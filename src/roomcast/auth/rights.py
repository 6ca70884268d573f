"""The rights that the configuration gives: which principal each credential stands for.

Only revocations and newly fetched keys of issuers change a `ConfiguredRights`. When the configuration is read
again, a new object with a cache of its own replaces it as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import thread_time
from typing import TYPE_CHECKING

from roomcast.auth.budget import BadCredentialBudget
from roomcast.auth.grants import Grants
from roomcast.auth.keys import Keys
from roomcast.auth.principal import Principal
from roomcast.auth.principal_cache import PrincipalCache, fingerprint
from roomcast.auth.revocations import Revocations
from roomcast.auth.secrets import Secrets
from roomcast.auth.verifier import Verifier, refused
from roomcast.model.errors import BadCredential, InvalidToken, RightsUnavailable
from roomcast.model.fields import ANONYMOUS
from roomcast.model.revocation import Revocation
from roomcast.model.settings.limits import UNLIMITED, Quota

if TYPE_CHECKING:
    from roomcast.auth.tokens.issuers import Issuers


class ConfiguredRights:
    """The rights of one configuration, with a cache of principals."""

    def __init__(
        self,
        *,
        keys: Keys | None = None,
        secrets: Secrets | None = None,
        issuers: Issuers | None = None,
        read: Grants | None = None,
        publish: Grants | None = None,
        quota: Quota = UNLIMITED,
        cookie: str | None = None,
        revoked: Sequence[Revocation] = (),
    ) -> None:
        """`issuers` is None if no tokens are accepted. `read` and `publish` are the grants of requests without a
        credential, by default none; `quota` limits each address that sends such requests. `cookie` is the name of
        the cookie that holds a credential; None if there is none. `revoked` are the configuration's
        revocations."""
        self.keys: Keys = keys or Keys()
        self.secrets: Secrets = secrets or Secrets()
        self.cookie = cookie
        self.issuers = issuers
        self.anonymous: Principal = Principal(
            kind=ANONYMOUS,
            name="",
            user=ANONYMOUS,
            read=read or Grants(),
            publish=publish or Grants(),
            quota=quota,
        )
        """The principal of a client that sends no credential."""
        self._verifier = Verifier(self.keys, self.secrets, issuers)
        self._configured_revoked = revoked
        self._revoked = Revocations(revoked)
        self._cache = PrincipalCache()
        self._budget = BadCredentialBudget()

    @property
    def configured(self) -> bool:
        """Whether the configuration grants or checks anything."""
        granted = self.anonymous.read or self.anonymous.publish
        return bool(self.keys or self.secrets or self.issuers or self.cookie or granted)

    def start_fetching(
        self, changed: Callable[[], None] = lambda: None, earlier: ConfiguredRights | None = None
    ) -> None:
        """Starts fetching the issuers' keys on the running loop. Until a fetch succeeds, the keys that `earlier`
        rights fetched are used. `changed` is called whenever the keys have changed."""

        def forget() -> None:
            self._cache.clear()
            changed()

        if self.issuers is not None:
            self.issuers.start_fetching(forget, earlier.issuers if earlier else None)

    async def fetched(self) -> None:
        """Waits until no fetch of issuers' keys is under way."""
        if self.issuers is not None:
            await self.issuers.fetched()

    def stop_fetching(self) -> None:
        """Ends what `start_fetching` began."""
        if self.issuers is not None:
            self.issuers.stop_fetching()

    def revoke(self, logged: Sequence[Revocation]) -> None:
        """Puts `logged`, all revocations in the log, in force in addition to those of the configuration, and
        clears the cache."""
        self._revoked = Revocations([*self._configured_revoked, *logged])
        self._cache.clear()

    def current(self, principal: Principal) -> Principal | None:
        """The principal that these rights give to the credential of `principal`, which earlier rights found. None
        if the credential is no longer valid."""
        found = self._verifier.current(principal)
        return None if found is None or self._revoked.cover(found) else found

    def identify(self, credential: str, now: float) -> Principal:
        """The principal of `credential`; `now` is seconds since 1970.

        Raises `InvalidToken`: the sender of a bad credential is never anonymous. Raises `TooManyBad` and
        `RightsUnavailable` if the credential cannot be judged now."""
        return self.identify_sent(credential.encode("utf-8", "surrogatepass"), lambda sent: credential, now)

    def identify_sent(
        self, sent: bytes, extract: Callable[[bytes], str], now: float, client: Callable[[], str] = lambda: ""
    ) -> Principal:
        """The principal of the credential in `sent`, whose hash is its key in the cache; `now` is seconds since
        1970. If it is not in the cache, `extract` takes the credential's text out of `sent`, and `client` names
        the client that sends it: a bad credential uses up that client's time.

        Raises what `extract` does, and what `identify` does."""
        hashed = fingerprint(sent)
        return self._cache.get(hashed, now) or self._cache.add(hashed, self._judge(sent, extract, now, client()))

    def _judge(self, sent: bytes, extract: Callable[[bytes], str], now: float, client: str) -> Principal:
        self._budget.check(client)
        began = thread_time()
        try:
            principal = self._verifier.verify(extract(sent), now)
            if self._revoked.cover(principal):
                raise refused("revoked")
        except (BadCredential, InvalidToken, RightsUnavailable):
            # A token whose key is unknown is charged, too: anybody can write one and make the server verify it.
            self._budget.charge(client, thread_time() - began)
            raise
        self._budget.trust(client)
        return principal
