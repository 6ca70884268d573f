"""Proxies of the environment: every form of NO_PROXY, and proxies that cannot be used."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

from roomcast.client import Unreachable
from roomcast.client.proxies import proxy_for
from tests.client.conftest import MakeClient
from tests.client.scripted import ScriptedServer, aside
from tests.running import PATIENCE

PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Removes the machine's own proxies."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD"):
        for spelt in (name, name.upper()):
            monkeypatch.delenv(spelt, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("10.0.0.0/8", "http://10.1.2.3:8080/", True),
        ("10.0.0.0/8", "http://11.1.2.3/", False),
        ("10.0.0.0/8", "http://ten.example/", False),
        ("10.0.0.0/8,fd07:b51a:cc66::/64", "http://[fd07:b51a:cc66::5]:8080/", True),
        ("fd07:b51a:cc66::/64", "http://[fd07:b51a:cc67::5]/", False),
        ("[fd07:b51a:cc66::]/64", "http://[fd07:b51a:cc66::5]/", True),
        ("fd07::5", "http://[fd07::5]/", True),
        ("[fd07::5]", "http://[fd07::5]/", True),
        ("[fd07::5]:8080", "http://[fd07::5]:8080/", True),
        ("[fd07::5]:8080", "http://[fd07::5]:8081/", False),
        ("192.0.2.7", "http://192.0.2.7/", True),
        ("192.0.2.7:8080", "http://192.0.2.7:8080/", True),
        ("192.0.2.7:8080", "http://192.0.2.7/", False),
        ("example.com", "http://example.com/", True),
        ("example.com", "http://live.example.com/", True),
        ("example.com", "http://notexample.com/", False),
        (".example.com", "http://live.example.com/", True),
        ("*.example.com", "http://live.example.com/", True),
        ("EXAMPLE.com", "http://example.COM./", True),
        ("example.com:443", "https://example.com/", True),
        ("example.com:443", "http://example.com/", False),
        ("https://example.com", "http://example.com/", False),
        ("http://example.com", "http://example.com/", True),
        ("a.example, example.com", "http://example.com/", True),
        ("a.example example.com", "http://example.com/", True),
        ("*", "http://example.com/", True),
        (":::,[,://,/8,*.", "http://example.com/", False),
    ],
)
def test_no_proxy_covers_names_addresses_and_networks(
    environment: pytest.MonkeyPatch, no_proxy: str, url: str, direct: bool
) -> None:
    environment.setenv("ALL_PROXY", PROXY)
    environment.setenv("NO_PROXY", no_proxy)
    found = proxy_for(httpx.URL(url))
    assert (found is None) == direct
    assert found is None or found == ("ALL_PROXY", PROXY)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST.",
        "app.localhost",
        "127.0.0.1",
        "127.8.8.8",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
    ],
)
def test_loopback_never_goes_through_a_proxy(environment: pytest.MonkeyPatch, host: str) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        environment.setenv(name, PROXY)
    assert proxy_for(httpx.URL(f"http://{host}:8080/")) is None
    assert proxy_for(httpx.URL(f"https://{host}:8080/")) is None


def test_the_variable_of_the_scheme_overrides_all_proxy(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALL_PROXY", "http://all.example:1")
    environment.setenv("https_proxy", "secure.example:2")
    assert proxy_for(httpx.URL("https://example.com/")) == ("https_proxy", "http://secure.example:2")
    assert proxy_for(httpx.URL("http://example.com/")) == ("ALL_PROXY", "http://all.example:1")


def test_a_proxy_is_for_its_own_scheme_only(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("https_proxy", "secure.example:2")
    assert proxy_for(httpx.URL("http://example.com/")) is None


def test_a_request_goes_through_the_proxy_unless_no_proxy_covers_it(
    environment: pytest.MonkeyPatch, scripted: ScriptedServer, client: MakeClient
) -> None:
    environment.setenv("http_proxy", scripted.url.removesuffix("/events"))
    one = client("http://roomcast.example:8080")
    calling = aside(one.rooms)
    asked = scripted.next()
    assert asked.target == "http://roomcast.example:8080/rooms"
    asked.answer(body=b'{"rooms":[]}')
    assert calling.result(PATIENCE) == []
    environment.setenv("NO_PROXY", "roomcast.example")
    with pytest.raises(Unreachable, match=r"roomcast\.example"):
        client("http://roomcast.example:8080", patience=0).rooms()


def test_a_redirect_to_loopback_bypasses_the_proxy(
    environment: pytest.MonkeyPatch, scripted: ScriptedServer, client: MakeClient
) -> None:
    base = scripted.url.removesuffix("/events")
    environment.setenv("http_proxy", base)
    calling = aside(client("http://roomcast.example:8080").rooms)
    scripted.next().answer("307 Temporary Redirect", f"Location: {base}/here")
    asked = scripted.next()
    assert asked.target == "/here"
    asked.answer(body=b'{"rooms":[]}')
    assert calling.result(PATIENCE) == []


BAD = [
    "socks5://127.0.0.1:1080",
    "socks4://h:1",
    "gopher://h:1",
    "http://[",
    "http://h:99999",
    "http://",
    "http://u:secret@h:x",
]


@pytest.mark.parametrize("proxy", BAD)
def test_an_unusable_proxy_raises_an_error_that_names_its_variable(
    environment: pytest.MonkeyPatch, client: MakeClient, proxy: str
) -> None:
    environment.setenv("ALL_PROXY", proxy)
    one = client("http://roomcast.example:8080")
    for call in (one.rooms, lambda: next(iter(one.follow("r")))):
        with pytest.raises(Unreachable, match="ALL_PROXY=") as raised:
            call()
        assert "NO_PROXY=roomcast.example" in str(raised.value)
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize("proxy", BAD)
def test_an_unusable_proxy_does_not_matter_for_a_direct_request(
    environment: pytest.MonkeyPatch, scripted: ScriptedServer, client: MakeClient, proxy: str
) -> None:
    environment.setenv("ALL_PROXY", proxy)
    calling = aside(client(scripted.url.removesuffix("/events")).rooms)
    scripted.next().answer(body=b'{"rooms":[]}')
    assert calling.result(PATIENCE) == []


def test_trust_env_false_ignores_the_environment(environment: pytest.MonkeyPatch, client: MakeClient) -> None:
    environment.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    options: dict[str, Any] = {"trust_env": False, "patience": 0}
    with pytest.raises(Unreachable, match="cannot be reached"):
        client(f"http://127.0.0.1:{port}", **options).rooms()
