"""A transport of httpx that chooses the environment's proxy for each request."""

from __future__ import annotations

import httpx

from roomcast.client.proxies import MakeTransport, Routes


class AsyncRouted(httpx.AsyncBaseTransport):
    """Sends each request directly, or through the proxy that the environment names for its URL."""

    def __init__(self, make: MakeTransport[httpx.AsyncHTTPTransport]) -> None:
        self._routes = Routes(make)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See `httpx.AsyncBaseTransport`. Raises `Unreachable` if the proxy for the URL of `request` cannot be
        used."""
        return await self._routes.to(request.url).handle_async_request(request)

    async def aclose(self) -> None:
        """Closes every transport that was made."""
        for transport in self._routes.all():
            await transport.aclose()
