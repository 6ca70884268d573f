"""The body of an answer, read up to a bound."""

from __future__ import annotations

import httpx

from roomcast.client.body import BoundedBody


async def aread(response: httpx.Response, max_bytes: int) -> BoundedBody:
    """Reads the body of `response` until its end, or until more than `max_bytes` bytes have come."""
    body = BoundedBody(response, max_bytes)
    async for data in response.aiter_bytes():
        if not body.add(data):
            break
    return body
