"""What may be given to a client: the options that go to httpx, and what is said where a name is none of them."""

from __future__ import annotations

import difflib
import ssl
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict

import httpx


class HttpxOptions(TypedDict, total=False):
    """What goes to httpx's client as it is given."""

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
    """Those of a client for threads."""

    transport: httpx.BaseTransport | None
    mounts: Mapping[str, httpx.BaseTransport | None]


class AwaitingOptions(HttpxOptions, total=False):
    """Those of a client for an event loop."""

    transport: httpx.AsyncBaseTransport | None
    mounts: Mapping[str, httpx.AsyncBaseTransport | None]


def check_names(given: Iterable[str], own: Iterable[str]) -> None:
    """Raises `TypeError` where a name is none of httpx's options, with what was probably meant. `own` are the
    names that the caller takes itself."""
    known = [*own, *BlockingOptions.__annotations__]
    for name in given:
        if name == "timeout":  # httpx's own would have no effect: each request has one that fits it
            raise TypeError(
                "there is no timeout for all: heartbeat, patience and read_timeout say what is too long"
            )
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.7)
            raise TypeError(f"{name} is not an option" + (f": did you mean {near[0]}?" if near else ""))
