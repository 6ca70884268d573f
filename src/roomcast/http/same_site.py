"""The origin rule of cookies.

A browser sends a cookie with every request of any page. So the cookie tells whose browser it is, but not that its
user wanted the request (CSRF). The rule is stricter than that of Go's `http.CrossOriginProtection`. It holds for a
`GET` as well: a stream that another site's page opens is load, and its traffic reveals something. And a `POST`
or `DELETE` with neither `Origin` nor `Sec-Fetch-Site` is refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from roomcast.api.request import Head
from roomcast.model.errors import NotServed

_OURS = (b"same-origin", b"none")
"""`Sec-Fetch-Site` of our own pages, and of an address that the user typed or chose from their bookmarks."""
_SAFE = ("GET", "HEAD")
_ORIGIN = re.compile(r"(https?)://([^/]+)")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def check_same_site(
    head: Head, values: Mapping[bytes, bytes], cookie_origins: Collection[str], scheme: str
) -> None:
    """Raises `NotServed` for a request that a page of another site may have made.

    `head` and `values` are the request's shared and own fields, and `cookie_origins` are the origins whose pages
    may send cookies; `*` names none. `scheme` is that of the connection: if this server uses `https`, a page that
    came over `http` is not its own."""
    origin = head.text(b"origin")
    if origin and origin != "*" and origin in cookie_origins:
        return
    site = values.get(b"sec-fetch-site")
    if site is not None:
        ours = site in _OURS or _is_link(head, values)
    elif origin:
        ours = is_own(origin, head.text(b"host"), values.get(b"x-forwarded-proto", scheme.encode()))
    else:
        ours = head.method in _SAFE  # a client that is not a browser, or an old browser on our own page
    if not ours:
        raise NotServed("a cookie counts for this site's own pages only: name the other origin in --allow-origin")


def _is_link(head: Head, values: Mapping[bytes, bytes]) -> bool:
    """Whether the user followed a link: the page with the link cannot read the answer."""
    return head.method in _SAFE and values.get(b"sec-fetch-mode") == b"navigate"


def is_own(origin: str, host: str, scheme: bytes = b"http") -> bool:
    """Whether pages of `origin` come from `host`, the value of the request's `Host`. `scheme` is that of the
    connection; a proxy may end TLS without saying so, so `http` may mean either."""
    parts = _ORIGIN.fullmatch(origin)
    if not parts or (scheme == b"https" and parts[1] != "https"):
        return False
    host = host.lower()
    return parts[2].lower() in (host, host.removesuffix(_DEFAULT_PORTS[parts[1]]))
