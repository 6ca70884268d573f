"""The lines that fix each fault in nginx, Caddy, HAProxy and Varnish, and how a proxy is recognized."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

NAMES = {"nginx": "nginx", "caddy": "Caddy", "haproxy": "HAProxy", "varnish": "Varnish"}
"""The display names of the proxies that have lines here, by the names that they give themselves."""
_OTHERS = ("cloudflare", "apache", "envoy", "traefik", "awselb", "openresty", "litespeed")

_LINES: Mapping[str, Mapping[str, str]] = {
    "held": {
        "": "turn response buffering off for text/event-stream in every proxy between",
        "nginx": "proxy_buffering off;  and gzip_types without text/event-stream",
        "caddy": "reverse_proxy 127.0.0.1:8080 {\\n flush_interval -1 \\n}",
        "haproxy": "no http-response wait-for-body, and no compression type text/event-stream",
        "varnish": "return (pipe);  in vcl_recv for what accepts text/event-stream",
    },
    "late": {
        "": "turn off what delays small writes, such as Nagle's algorithm or buffering",
        "haproxy": "option http-no-delay",
        "nginx": "tcp_nodelay on;",
    },
    "compressed": {
        "": "leave text/event-stream out of what is compressed",
        "nginx": "gzip_types without text/event-stream and without *",
        "caddy": "encode gzip { match { header Content-Type text/html* } }, naming what is no stream",
        "haproxy": "compression type without text/event-stream",
        "varnish": "set beresp.do_gzip = false;",
    },
    "type": {
        "": "pass roomcast's Content-Type on: text/event-stream; charset=utf-8",
        "nginx": "no proxy_hide_header Content-Type, and no add_header Content-Type",
        "caddy": "no header Content-Type in the site",
        "haproxy": "no http-response set-header Content-Type",
        "varnish": "no set resp.http.Content-Type",
    },
    "cached": {
        "": "pass roomcast's Cache-Control on: no-store, no-transform",
        "nginx": "no expires, and no proxy_hide_header Cache-Control",
        "caddy": "no header Cache-Control in the site",
        "haproxy": "no http-response set-header Cache-Control",
        "varnish": "no unset beresp.http.Cache-Control",
    },
    "cut": {
        "": "let a response last as long as it sends something every 15 s",
        "nginx": "proxy_read_timeout 60s;  (send_timeout as well): longer than roomcast's --heartbeat",
        "caddy": "no timeouts { write … } of servers, no stream_timeout in reverse_proxy",
        "haproxy": "timeout client 60s  and  timeout server 60s: longer than roomcast's --heartbeat",
        "varnish": "-p pipe_timeout=60 -p between_bytes_timeout=60: longer than roomcast's --heartbeat",
    },
    "last-event-id": {
        "": "pass the request header Last-Event-ID on",
        "nginx": 'no proxy_set_header Last-Event-ID "", and no proxy_pass_request_headers off',
        "caddy": "no header_up -Last-Event-ID in reverse_proxy",
        "haproxy": "no http-request del-header Last-Event-ID",
        "varnish": "no unset req.http.Last-Event-ID",
    },
    "streams": {
        "": "allow one client more open requests at once",
        "nginx": "limit_conn connections 50;  (each stream counts, and so does each tab)",
        "haproxy": "maxconn of frontend and server above the number of followers",
        "varnish": "-p thread_pool_max above the number of followers",
    },
    "url": {
        "": "take request heads of 64 KiB",
        "nginx": "large_client_header_buffers 4 64k;",
        "caddy": "max_header_size 64kb or more in the servers' options",
        "haproxy": "tune.bufsize 81920  in global",
        "varnish": "-p http_req_size=80k -p http_req_hdr_len=64k",
    },
    "body": {
        "": "take request bodies of 1 MiB",
        "nginx": "client_max_body_size 2m;",
        "caddy": "request_body { max_size 2MB }",
        "haproxy": "no http-request deny by req.body_size",
        "varnish": "no limit on Content-Length in vcl_recv",
    },
    "metrics": {
        "": "answer 404 to /metrics before it reaches roomcast, or give roomcast rights",
        "nginx": "location = /metrics { return 404; }",
        "caddy": "@metrics path /metrics \\n respond @metrics 404",
        "haproxy": "http-request return status 404 if { path,url_dec /metrics }",
        "varnish": 'if (req.url ~ "^(https?://[^/]*)?/+(metrics|[^/?]*%)") { return (synth(404)); }',
    },
    "cors": {
        "": "leave CORS to roomcast, and add no Access-Control headers of your own",
        "nginx": "no add_header Access-Control-Allow-Origin in location /",
        "caddy": "no header Access-Control-Allow-Origin in the site",
        "haproxy": "no http-response add-header Access-Control-Allow-Origin",
        "varnish": "no set resp.http.Access-Control-Allow-Origin",
    },
}


FAULTS = tuple(_LINES)
"""The faults that a proxy can cause."""


def line(fault: str, proxy: str) -> str:
    """The line that fixes `fault`, one of `FAULTS`, in `proxy`, as `named_by` names it; a general one if there is
    none for `proxy`."""
    lines = _LINES[fault]
    own = lines.get(proxy, "")
    return f"{NAMES[proxy]}: {own}" if proxy and own else lines[""]


def named_by(headers: httpx.Headers) -> str:
    """The proxy that an answer's headers name, in lower case; empty if they name none."""
    said = " ".join(
        [headers.get("server", ""), headers.get("via", ""), *("varnish" for _ in headers.get_list("x-varnish"))]
    )
    return next((name for name in (*NAMES, *_OTHERS) if name in said.lower()), "")


def recognized(page: bytes) -> str:
    """The proxy that answered a malformed request with `page`; empty if unknown."""
    if b"<center>nginx" in page:
        return "nginx"
    if b"Your browser sent an invalid request." in page:
        return "haproxy"
    return ""
