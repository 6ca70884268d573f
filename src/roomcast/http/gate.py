"""Decides which hosts, pages and proxies are served at all, before the principal is found.

Without configured rights only this machine is served (local mode). Any page can make a browser on this machine
send requests: `Origin` names the page, and `Host` reveals a name that was pointed at this machine (DNS rebinding).
A proxy that forwards for other machines names them in its headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from roomcast.api.request import Head
from roomcast.auth.guard import Mode
from roomcast.http.forwarded import addresses
from roomcast.http.same_site import is_own
from roomcast.model.errors import NotServed
from roomcast.model.loopback import is_loopback

_UNCHECKED_PATHS = ("/healthz", "/readyz")
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,255})(?::[0-9]{0,5})?")
_ORIGIN = re.compile(r"(https?)://([^/]+)")
_TARGET = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)
_ADDRESSES = (b"x-forwarded-for", b"forwarded", b"x-real-ip")
"""Header fields in which proxies name their clients."""
_HINT = "say who may read and publish: --config with rights, or --secret-file, or --open if everybody may"


class Gate:
    """Refuses requests by their host, origin and proxy."""

    def __init__(self, mode: Mode, origins: Sequence[str] | None) -> None:
        """`origins` are those of `--allow-origin`; None if it was not given."""
        self._mode = mode
        self.origins = origins if origins is not None else ("*",) if mode is Mode.OPEN else ()
        """Origins whose pages may read every answer; `*` stands for any."""
        self.cookie_origins = frozenset(origins or ()) - {"*"}
        """Origins whose pages may send a cookie."""

    def check(self, head: Head) -> None:
        """Checks the host and the origin in `head`. Raises `NotServed`."""
        if head.path in _UNCHECKED_PATHS:
            return
        if self._mode is Mode.LOCAL:
            _check_host(head)
        origin = head.fields.get(b"origin")
        if origin is not None and head.method != "OPTIONS" and not self._admits(origin.decode("latin-1"), head):
            raise NotServed(
                f"pages of the origin {origin.decode('latin-1')!r:.200} are not served: name it in --allow-origin"
            )

    def check_forwarded(self, head: Head, values: Mapping[bytes, bytes]) -> None:
        """Checks the clients that proxies name in `values`, the own fields of the request with this `head`. Raises
        `NotServed`."""
        if self._mode is Mode.LOCAL and head.path not in _UNCHECKED_PATHS:
            for name in _ADDRESSES:
                if name in values and not _all_loopback(name.decode(), values[name].decode("latin-1")):
                    raise NotServed(f"a proxy forwards this request for another machine; {_HINT}")

    def _admits(self, origin: str, head: Head) -> bool:
        """Whether pages of this origin are served. This server's own pages always are, even if a proxy ends
        TLS."""
        named = "*" in self.origins or origin in self.origins
        return named or self.is_local(origin) or is_own(origin, head.text(b"host"))

    def is_local(self, origin: str) -> bool:
        """Whether the origin is served because it is on this machine (local mode)."""
        parts = _ORIGIN.fullmatch(origin)
        return self._mode is Mode.LOCAL and parts is not None and _is_loopback_host(parts[2])


def _check_host(head: Head) -> None:
    target = _TARGET.match(head.target)  # RFC 9112, section 3.2.2: it overrides Host
    for host in filter(None, [head.fields.get(b"host"), target and target[1]]):
        if not _is_loopback_host(host.decode("latin-1")):
            raise NotServed(f"the host {host.decode('latin-1')!r:.200} is not this machine; {_HINT}")


def _is_loopback_host(authority: str) -> bool:
    parts = _AUTHORITY.fullmatch(authority.lower())
    name = parts[1].strip("[]").removesuffix(".") if parts else ""
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)


def _all_loopback(header: str, value: str) -> bool:
    return all(address is not None and is_loopback(address) for address in addresses(header, value))
