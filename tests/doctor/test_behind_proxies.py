"""`roomcast doctor` behind each proxy of the docs: with the lines of its page, and with faults in them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from roomcast.doctor.examination import examine
from roomcast.doctor.finding import Finding, Level
from roomcast.doctor.fixes import NAMES
from roomcast.doctor.site import Site
from tests import proxies
from tests.proxies import PROXIES
from tests.running import Running, start_roomcast, wait_for

ORIGIN = "https://example.org"
IDLE = 1.5
"""Seconds; the server's heartbeat comes within one."""


class Wrong(NamedTuple):
    """A page's lines with faults in them, and what the doctor must find."""

    proxy: str
    swaps: Mapping[str, str]
    found: Mapping[str, str]
    """The beginning of the line that fixes it, by the name of the check."""


CASES = {
    "nginx, many": Wrong(
        "nginx",
        {
            "location = /metrics": "location = /unknown",
            "client_max_body_size 2m;": "client_max_body_size 100k;",
            "large_client_header_buffers 4 64k;": "gzip on; gzip_types text/event-stream; gzip_proxied any;",
            'proxy_set_header Connection "";': 'proxy_set_header Connection ""; proxy_set_header Last-Event-ID "";'
            "add_header Access-Control-Allow-Origin *;",
        },
        {
            "compression": "nginx: gzip_types without",
            "Last-Event-ID": "nginx: no proxy_set_header Last-Event-ID",
            "long URL": "nginx: large_client_header_buffers 4 64k;",
            "large body": "nginx: client_max_body_size 2m;",
            "metrics": "nginx: location = /metrics",
            "CORS": "nginx: no add_header Access-Control-Allow-Origin",
        },
    ),
    "nginx, cut": Wrong(
        "nginx",
        {
            "proxy_http_version 1.1;": "proxy_http_version 1.1; proxy_read_timeout 400ms; limit_conn here 4;",
            "upstream roomcast {": "limit_conn_zone $binary_remote_addr zone=here:1m;\nupstream roomcast {",
        },
        {"idle stream": "nginx: proxy_read_timeout 60s;", "streams": "nginx: limit_conn connections 50;"},
    ),
    "haproxy, many": Wrong(
        "haproxy",
        {
            "    http-request return status 404 if { path,url_dec /metrics }\n": "",
            "tune.bufsize 81920": "tune.bufsize 16384",
            "http-request set-header X-Forwarded-For %[src]": "http-request del-header Last-Event-ID\n"
            "    http-response add-header Access-Control-Allow-Origin *\n"
            "    http-request deny deny_status 413 if { req.hdr(content-length) -m int gt 100000 }",
        },
        {
            "Last-Event-ID": "HAProxy: no http-request del-header",
            "long URL": "HAProxy: tune.bufsize 81920",
            "large body": "HAProxy: no http-request deny",
            "metrics": "HAProxy: http-request return status 404",
            "CORS": "HAProxy: no http-response add-header",
        },
    ),
    "haproxy, late": Wrong(
        "haproxy", {"    option http-no-delay\n": ""}, {"first event": "HAProxy: option http-no-delay"}
    ),
    "haproxy, cut": Wrong(
        "haproxy", {"timeout server 60s": "timeout server 400ms"}, {"idle stream": "HAProxy: timeout client 60s"}
    ),
    "caddy, many": Wrong(
        "caddy",
        {
            "respond @metrics 404": "request_body {\n max_size 100KB\n }",
            "header Content-Type text/html*": "header Content-Type text/*",
            "reverse_proxy 127.0.0.1:8080": "reverse_proxy 127.0.0.1:8080 {\n header_up -Last-Event-ID\n"
            " header_down +Access-Control-Allow-Origin *\n}",
        },
        {
            "compression": "Caddy: encode gzip { match",
            "Last-Event-ID": "Caddy: no header_up -Last-Event-ID",
            "large body": "Caddy: request_body",
            "metrics": "Caddy: @metrics",
            "CORS": "Caddy: no header Access-Control-Allow-Origin",
        },
    ),
    "caddy, held": Wrong(
        "caddy",
        {"reverse_proxy 127.0.0.1:8080": "reverse_proxy 127.0.0.1:8080 {\n buffer_responses\n}"},
        {"first event": "Caddy: reverse_proxy"},
    ),
    "caddy, cut": Wrong(
        "caddy",
        {
            "reverse_proxy 127.0.0.1:8080": "reverse_proxy 127.0.0.1:8080 {\n transport http {\n"
            " read_timeout 400ms\n }\n}"
        },
        {"idle stream": "Caddy: no timeouts"},
    ),
    "varnish, many": Wrong(
        "varnish",
        {
            "(metrics|[^/?]*%)": "unknown",
            "return (pipe);": "return (pass);",
            "sub vcl_backend_error {": "sub vcl_backend_response { set beresp.do_gzip = true; }\nsub"
            " vcl_backend_error {",
        },
        {
            "compression": "Varnish: set beresp.do_gzip",
            "first event": "Varnish: return (pipe);",
            "metrics": "Varnish: if (req.url",
        },
    ),
    "varnish, held": Wrong(
        "varnish",
        {
            "return (pipe);": "return (pass);",
            "sub vcl_backend_error {": "sub vcl_backend_response { set beresp.do_stream = false; }\nsub"
            " vcl_backend_error {",
        },
        {"first event": "Varnish: return (pipe);"},
    ),
    "varnish, short": Wrong(
        "varnish",
        {
            "-p http_req_size=80k -p http_req_hdr_len=64k": "-p pipe_timeout=0.4",
            "return (pipe);": "unset req.http.Last-Event-ID; return (pipe);",
        },
        {
            "Last-Event-ID": "Varnish: no unset",
            "long URL": "Varnish: -p http_req_size=80k",
            "idle stream": "Varnish: -p pipe_timeout=60",
        },
    ),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    options = ("--open", "--heartbeat=1", f"--allow-origin={ORIGIN}")
    running = start_roomcast(tmp_path_factory.mktemp("server"), *options)
    yield running
    running.kill()


@pytest.fixture
def behind(tmp_path: Path, server: Running, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Starts a proxy with the lines of its page, in which `swaps` were replaced; returns its URL."""
    started = []

    def start(name: str, swaps: Mapping[str, str], port: int = server.port) -> str:
        as_written = proxies.lines

        def lines(page: str, language: str) -> list[str]:
            return [proxies.swap(text, _in(text, swaps)) for text in as_written(page, language)]

        monkeypatch.setattr(proxies, "lines", lines)
        started.append(PROXIES[name](tmp_path, port))
        url = f"http://127.0.0.1:{started[-1].port}"
        wait_for(lambda: httpx.get(f"{url}/healthz", verify=False).is_success, f"{name} to know the server")
        return url

    yield start
    for proxy in started:
        proxy.stop()


def _in(text: str, swaps: Mapping[str, str]) -> dict[str, str]:
    """The swaps that apply to this part of a page."""
    return {old: new for old, new in swaps.items() if old in text}


def examined(url: str, headers: Mapping[str, str] | None = None, idle: float = IDLE) -> dict[str, Finding]:
    """The findings, by the name of the check."""
    found: list[Finding] = []
    asyncio.run(examine(Site(url, headers or {}), found.append, origin=ORIGIN, idle_seconds=idle))
    assert len({finding.name for finding in found}) == len(found)
    return {finding.name: finding for finding in found}


def faults(found: Mapping[str, Finding]) -> dict[str, Finding]:
    return {name: finding for name, finding in found.items() if finding.level is Level.FAULT}


@pytest.mark.parametrize("name", PROXIES)
def test_with_the_lines_of_its_page_the_doctor_finds_no_fault(name: str, behind: Callable[..., str]) -> None:
    found = examined(behind(name, {}))
    assert faults(found) == {}
    assert f"behind {NAMES[name]}" in found["server"].text
    assert found["heartbeat"].level is found["idle stream"].level is Level.OK


@pytest.mark.parametrize("case", CASES)
def test_each_fault_is_found_with_the_line_that_fixes_it(case: str, behind: Callable[..., str]) -> None:
    wrong = CASES[case]
    found = faults(examined(behind(wrong.proxy, wrong.swaps)))
    assert {name: finding.fix[: len(wrong.found.get(name, ""))] for name, finding in found.items()} == wrong.found
