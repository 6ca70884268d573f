"""The examined server, as this client reaches it."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypedDict

import httpx
import msgspec

from roomcast.client.errors import bad_tls
from roomcast.doctor import fixes

SECONDS = 5.0
"""How long an answer may take."""
_PROBLEM = "urn:problem-type:roomcast:"


class _Rights(TypedDict):
    """The answer of `GET /me`."""

    kind: str
    name: str
    read: list[str]
    publish: list[str]
    metrics: bool
    admin: bool
    expires_in: int | None


@dataclass
class Site:
    """The server's address, this client's credential, and the facts that all checks need."""

    url: str
    headers: Mapping[str, str]
    """With the credential, if there is one."""
    room: str = ""
    """The room to follow; nothing is published to it. Empty until one is chosen."""
    verify: bool = True
    """Whether the certificate is checked; False once it is known to be bad."""
    tls: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    """The TLS context of all connections: making one takes 50 ms."""
    proxy: str = ""
    """The proxy in front of the server, as `fixes` names it; empty if none was seen."""
    follows: bool = True
    """Whether a stream begins in time; if not, further checks of streams are skipped."""
    local: bool = False
    """Whether this client is on the server's machine, by its addresses."""
    trip: float = 0.0
    """Seconds from a request to its answer."""
    greeted: float = 0.0
    """The time at which `look` got its answer, in seconds since 1970."""
    stranger: dict[str, Any] = field(default_factory=dict)
    """The answer of `/me` to a client without a credential; empty if it is refused, or not answered by
    roomcast."""

    def client(self, *, credential: bool = True) -> httpx.AsyncClient:
        """Returns a new HTTP client, with connections of its own; without `credential` it sends none."""
        headers = self.headers if credential else {}
        keeps_url_login = credential and "authorization" not in map(str.lower, headers)
        return httpx.AsyncClient(
            base_url=self.url,
            headers=headers,
            # Without this, httpx would send the user and password of the URL.
            auth=None if keeps_url_login else httpx.Auth(),
            timeout=SECONDS,
            verify=self.tls,
        )

    async def get(self, path: str, *, credential: bool = True, **given: str) -> httpx.Response:
        """Returns the answer to a GET of `path`; without `credential` none is sent. `given` are further header
        fields, with `_` for `-`. Raises `httpx.HTTPError`."""
        async with self.client(credential=credential) as client:
            return await client.get(path, headers=_named(given))

    async def ask(self, method: str, path: str, *, content: bytes = b"", **given: str) -> httpx.Response:
        """Returns the answer to a request with any `method`, for `path`, with the body `content`. `given` are
        further header fields, with `_` for `-`. Raises `httpx.HTTPError`."""
        async with self.client() as client:
            return await client.request(method, path, content=content, headers=_named(given))

    def fix(self, fault: str) -> str:
        """Returns the line that mends a `fault`, one of `fixes.FAULTS`, in this site's proxy."""
        return fixes.line(fault, self.proxy)

    async def look(self) -> httpx.Response:
        """Contacts the server for the first time and identifies its proxy. Raises `httpx.HTTPError`."""
        try:
            found = await self._greet()
        except httpx.ConnectError as error:
            if not self.verify or bad_tls(error) is None:
                raise
            self.verify, self.tls = False, unverified()
            found = await self._greet()
        self.proxy = fixes.named_by(found.headers) or fixes.recognized(await self._nonsense())
        with suppress(httpx.HTTPError):
            self.stranger = rights_of(await self.get("/me", credential=False))
        return found

    async def _greet(self) -> httpx.Response:
        async with self.client() as client:
            await client.get("/healthz")
            began = time.monotonic()  # measured on the open connection
            async with client.stream("GET", "/healthz") as answer:
                network = answer.extensions.get("network_stream")
                addresses = (
                    [network.get_extra_info(name) for name in ("client_addr", "server_addr")] if network else []
                )
                await answer.aread()
        self.trip, self.greeted = time.monotonic() - began, time.time()
        self.local = any(addresses) and addresses[0][0] == addresses[1][0]
        return answer

    async def _nonsense(self) -> bytes:
        """The answer to a malformed request: proxies reveal themselves by it."""
        url = httpx.URL(self.url)
        secure = unverified() if url.scheme == "https" else None
        port = url.port or (443 if secure else 80)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(SECONDS):
                reader, writer = await asyncio.open_connection(url.host, port, ssl=secure)
                try:
                    writer.write(b"nonsense HTTP/1.1\r\n\r\n")
                    return await reader.read(10_000)
                finally:
                    await hang_up(writer)
        return b""


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Closes the connection of `writer` at once: over TLS the other side may never complete a clean close."""
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()


def unverified() -> ssl.SSLContext:
    """A TLS context for a server with a bad certificate, so that the other checks can still run."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def is_ours(answer: httpx.Response) -> bool:
    """Whether roomcast itself gave the `answer`, and not a proxy, by its body."""
    kind = answer.headers.get("content-type", "").partition(";")[0]
    if kind == "application/problem+json":
        return _PROBLEM in answer.text or "about:blank" in answer.text
    return answer.is_success and kind == "application/json"


def object_of(answer: httpx.Response) -> dict[str, Any]:
    """Returns the JSON object in the body of `answer`; empty if there is none: a proxy may send a page of its own
    with any status and content type."""
    try:
        found = answer.json()
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def rights_of(answer: httpx.Response) -> dict[str, Any]:
    """Returns the rights in `answer`, one of `GET /me`; empty if it is refused, or is not roomcast's."""
    try:
        return {**msgspec.convert(object_of(answer), _Rights)} if answer.is_success else {}
    except msgspec.ValidationError:
        return {}


def _named(given: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in given.items()}
