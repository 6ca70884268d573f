"""How the client uses httpx: its options, redirects and headers. No I/O."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import httpx

from roomcast.client.address import check_proxy
from roomcast.client.errors import Refused, without_password
from roomcast.client.options import check_names

Headers = Mapping[str, str]
Auth = str | tuple[str, str] | httpx.Auth | None
"""A bearer token, a user and a password, or anything that httpx takes."""
Proxy = str | httpx.Proxy | None

Fields = Sequence[tuple[str, str | bytes]]
"""Header fields, in order."""
Trace = Callable[[str, dict[str, Any]], Any]

CONNECT_SECONDS = 10.0
CONNECTED = ("connect_tcp.complete", "connect_unix_socket.complete", "start_tls.complete")
"""Endings of the names of httpcore's trace events that report a new connection."""
TLS_FAILED = "start_tls.failed"
"""The ending for a handshake that failed or was cancelled. httpcore closes the connection only after an error, and
would leave a cancelled one open until the other side ends it."""
_OF_TRANSPORT = ("verify", "cert", "trust_env", "http1", "http2", "limits")
"""Options that httpx's transport takes. httpx's client passes them on to a transport that it makes, but not to one
that it is given."""


class Closable(Protocol):
    """A stream that ends with its client."""

    closed: bool

    def hang_up(self) -> Any:
        """Ends the connection, or the pause."""


@dataclass(frozen=True)
class OutgoingRequest:
    """A request that may be sent several times."""

    method: str
    url: str
    body: bytes | None = None
    headers: list[tuple[str, str | bytes]] = field(default_factory=list)
    read_timeout: float | None = None
    """Seconds without a byte after which the connection is dead; None: never."""
    max_answer: int | None = None
    """Bytes that the answer may have; None: the client's own bound."""


@dataclass(frozen=True)
class HttpOptions:
    """Options of all requests of one client."""

    headers: Any = None
    auth: Any = None
    proxy: Any = None
    httpx: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of httpx's client, such as `verify` or `transport`."""

    own: Iterable[str] = ()
    """Names of the caller's own options, for the hint in the error about a misspelt one."""

    def __post_init__(self) -> None:
        check_names(self.httpx, self.own)
        if isinstance(self.proxy, str):
            check_proxy(self.proxy)

    @property
    def renews_credential(self) -> bool:
        """Whether the next request may carry another credential."""
        return callable(self.auth) or callable(self.headers)

    def for_client(self, hook: Callable[..., Any], for_streams: bool) -> dict[str, Any]:
        """The arguments of an httpx client, one of streams if `for_streams`; `hook` is called with each response.

        There may be many streams, so their number is not limited. A stream never takes over a connection of an
        earlier request: httpcore tells us of new connections only, and we must know the one to hang up."""
        limits = self.httpx.get("limits", httpx.Limits(max_connections=None, max_keepalive_connections=20))
        if for_streams:
            limits = httpx.Limits(max_connections=limits.max_connections, max_keepalive_connections=0)
        hooks = self.httpx.get("event_hooks", {})
        return {
            "follow_redirects": True,
            **self.httpx,
            "limits": limits,
            "event_hooks": {**hooks, "response": [*hooks.get("response", ()), hook]},
        }

    def reads_environment(self, proxy: Proxy) -> bool:
        """Whether the environment's proxies are used: not if the caller gave a `proxy` or a transport, or set
        `trust_env` to false."""
        return proxy is None and self.httpx.get("transport") is None and bool(self.httpx.get("trust_env", True))


def for_transport(arguments: Mapping[str, Any], tls: bool) -> dict[str, Any]:
    """Those of `arguments`, the arguments of an httpx client, that a transport takes, one of https if `tls`.

    Loading the certificates of all authorities takes 50 ms. A transport of plain HTTP trusts none instead."""
    own = {name: arguments[name] for name in _OF_TRANSPORT if name in arguments}
    return own if tls else {**own, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "cert": None}


def check_location(response: httpx.Response) -> None:
    """Raises `Refused` if `response` is a redirect that leads nowhere.

    httpx would follow an empty `Location` to the same URL, and report a malformed one like a cut connection."""
    location = response.headers["location"].strip()
    try:
        url = httpx.URL(location)
        host = bool(url.host) and (url.port is None or 0 < url.port < 65536)
        leads = host if url.scheme in ("http", "https") else bool(location and not url.scheme)
    except (httpx.InvalidURL, ValueError):
        leads = False
    if not leads:
        raise Refused(
            f"{without_password(response.url)} answered {response.status_code} with a redirect to "
            f"{location[:200]!r}, which is not an address: check the URL, and the proxy before the server",
            response.status_code,
        )


def build_request(
    client: httpx.Client | httpx.AsyncClient,
    request: OutgoingRequest,
    extra: Fields,
    headers: Headers | None,
    auth: Auth,
    trace: Trace,
) -> httpx.Request:
    """The `request` as `client` sends it. The caller's `headers`, and `auth` if it is a bearer token, override
    ours; `extra` are the header fields of this attempt. httpcore calls `trace` with each of its events."""
    ours = (("Accept-Encoding", "identity"), *extra, *request.headers)
    merged: dict[str, tuple[str, str | bytes]] = {name.lower(): (name, value) for name, value in ours}
    merged |= {name.lower(): (name, value) for name, value in (headers or {}).items()}
    if isinstance(auth, str):
        merged["authorization"] = ("Authorization", f"Bearer {auth}")
    encoded = [(k.encode("ascii"), v if isinstance(v, bytes) else v.encode()) for k, v in merged.values()]
    timeout = httpx.Timeout(CONNECT_SECONDS, read=request.read_timeout, pool=None)
    return client.build_request(
        request.method,
        request.url,
        content=request.body,
        headers=encoded,
        timeout=timeout,
        extensions={"trace": trace},
    )


def for_httpx(auth: Auth, built: httpx.Request) -> Any:
    """The value of httpx's argument `auth` for the request `built`. If `auth` is None and the request has no
    credential yet, httpx sends the user and password of the URL. It would also send them in place of a credential
    in the request's header fields: a bare `httpx.Auth` keeps those."""
    if auth is None or isinstance(auth, str):
        return httpx.Auth() if "authorization" in built.headers else httpx.USE_CLIENT_DEFAULT
    return auth
