"""The options of a client that go to httpx, and the error for a name that is no option."""

from __future__ import annotations

import difflib
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict

import httpx


class HttpxOptions(TypedDict, total=False):
    """Options that are passed on to httpx's client."""

    verify: ssl.SSLContext | str | bool
    cert: str | tuple[str, str] | tuple[str, str, str] | None
    trust_env: bool
    """Whether proxies, and the file of trusted certificates, come from the environment."""
    http1: bool
    http2: bool
    limits: httpx.Limits
    max_redirects: int
    follow_redirects: bool
    cookies: Any
    params: Any
    event_hooks: Mapping[str, list[Callable[..., Any]]]


class BlockingOptions(HttpxOptions, total=False):
    """The options of a client for threads."""

    transport: httpx.BaseTransport | None
    mounts: Mapping[str, httpx.BaseTransport | None]


class AwaitingOptions(HttpxOptions, total=False):
    """The options of a client for an event loop."""

    transport: httpx.AsyncBaseTransport | None
    mounts: Mapping[str, httpx.AsyncBaseTransport | None]


def check_names(given: Iterable[str], own: Iterable[str]) -> None:
    """Raises `TypeError` if a name in `given` is neither an option of httpx nor one of `own`, the caller's
    options. The error names the option that was probably meant."""
    known = [*own, *BlockingOptions.__annotations__]
    for name in given:
        if name == "timeout":  # httpx's would have no effect: each request has its own
            raise TypeError(
                "timeout is not an option: use heartbeat and patience of a client, or read_timeout of connect"
            )
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.7)
            raise TypeError(
                f"{name} is not an option: " + (f"did you mean {near[0]}?" if near else "leave it out")
            )
