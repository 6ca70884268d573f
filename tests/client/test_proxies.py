"""Proxies of the environment: every form that NO_PROXY has in the wild, and those that cannot be used."""

from __future__ import annotations

import socket
from typing import Any

import httpx
import pytest

from roomcast.client import Unreachable
from roomcast.client.proxies import proxy_for
from tests.client.conftest import MakeClient
from tests.client.scene import Scene, aside
from tests.running import PATIENCE

PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Without proxies of the machine."""
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
def test_what_no_proxy_covers(environment: pytest.MonkeyPatch, no_proxy: str, url: str, direct: bool) -> None:
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


def test_the_schemes_own_variable_goes_before_the_one_for_all(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("ALL_PROXY", "http://all.example:1")
    environment.setenv("https_proxy", "secure.example:2")
    assert proxy_for(httpx.URL("https://example.com/")) == ("https_proxy", "http://secure.example:2")
    assert proxy_for(httpx.URL("http://example.com/")) == ("ALL_PROXY", "http://all.example:1")


def test_a_request_goes_through_the_proxy_and_one_that_is_excepted_does_not(
    environment: pytest.MonkeyPatch, scene: Scene, client: MakeClient
) -> None:
    environment.setenv("http_proxy", scene.url.removesuffix("/events"))
    one = client("http://roomcast.example:8080")
    calling = aside(one.rooms)
    asked = scene.next()
    assert asked.target == "http://roomcast.example:8080/rooms"
    asked.answer(body=b'{"rooms":[]}')
    assert calling.result(PATIENCE) == []
    environment.setenv("NO_PROXY", "roomcast.example")
    with pytest.raises(Unreachable, match=r"roomcast\.example"):
        client("http://roomcast.example:8080", patience=0).rooms()


def test_a_redirection_to_loopback_leaves_the_proxy(
    environment: pytest.MonkeyPatch, scene: Scene, client: MakeClient
) -> None:
    base = scene.url.removesuffix("/events")
    environment.setenv("http_proxy", base)
    calling = aside(client("http://roomcast.example:8080").rooms)
    scene.next().answer("307 Temporary Redirect", f"Location: {base}/here")
    asked = scene.next()
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
def test_a_proxy_that_cannot_be_used_is_one_sentence_that_names_its_variable(
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
def test_a_proxy_that_cannot_be_used_is_no_matter_where_none_is_used(
    environment: pytest.MonkeyPatch, scene: Scene, client: MakeClient, proxy: str
) -> None:
    environment.setenv("ALL_PROXY", proxy)
    calling = aside(client(scene.url.removesuffix("/events")).rooms)
    scene.next().answer(body=b'{"rooms":[]}')
    assert calling.result(PATIENCE) == []


def test_the_environment_is_not_asked_where_it_is_not_trusted(
    environment: pytest.MonkeyPatch, client: MakeClient
) -> None:
    environment.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    options: dict[str, Any] = {"trust_env": False, "patience": 0}
    with pytest.raises(Unreachable, match="cannot be reached"):
        client(f"http://127.0.0.1:{port}", **options).rooms()
