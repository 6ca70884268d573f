"""A real identity provider (oidc-provider-mock, as a process): from its discovery to a stream, while its keys
change, and while it is away. Its tokens have no `kid`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.observer import Observer
from tests.rights.serving import NDJSON, SSE, Way, bearer, get, publish
from tests.running import Running, free_port, start_roomcast, wait_for

AGAIN_SECONDS = 0.3
"""Minimum seconds between two fetches here, instead of a minute."""
_PROGRAM = f"""
from roomcast.auth.tokens import jwks
from roomcast.cli.main import main

jwks.AGAIN_SECONDS = {AGAIN_SECONDS}
main()
"""
_BACK = "http://localhost/back"


class Provider:
    """The provider, which has a new key after each start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        self._running = Running(
            [sys.executable, "-m", "oidc_provider_mock", "--port", str(self.port)], self._folder
        )
        wait_for(self._answers, "the provider")
        told = self.discovered()
        self.jwks, self._authorize, self._token = (
            told[name] for name in ("jwks_uri", "authorization_endpoint", "token_endpoint")
        )

    def end(self) -> None:
        self._running.kill()

    def discovered(self) -> dict[str, str]:
        """Its own description, by OpenID Connect Discovery."""
        return dict(httpx.get(f"{self.url}/.well-known/openid-configuration").json())

    def token(self, sub: str) -> str:
        """The ID token of a user who logs in, by the authorization code flow."""
        query = {"client_id": "roomcast", "redirect_uri": _BACK, "response_type": "code", "scope": "openid"}
        back = httpx.post(self._authorize, params=query, data={"sub": sub}).headers["location"]
        code = httpx.URL(back).params["code"]
        body = {"grant_type": "authorization_code", "code": code, "redirect_uri": _BACK}
        return str(httpx.post(self._token, data=body, auth=("roomcast", "x")).json()["id_token"])

    def _answers(self) -> bool:
        try:
            return bool(self.discovered())
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    provider = Provider(tmp_path_factory.mktemp("provider"))
    yield provider
    provider.end()


@pytest.fixture(scope="module")
def way(provider: Provider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    folder = tmp_path_factory.mktemp("server")
    told = provider.discovered()
    (folder / "roomcast.toml").write_text(
        f'[[issuer]]\niss = "{told["issuer"]}"\naudience = "roomcast"\njwks = "{told["jwks_uri"]}"\n'
        'read = ["user/{sub}"]\npublish = ["user/{sub}"]\n'
    )
    running = start_roomcast(folder, "--config=roomcast.toml", "--log=memory:", program=("-c", _PROGRAM))
    yield Way("own", running.port, running)
    running.kill()


def _status(way: Way, token: str) -> int:
    """The status of a stream: 200 if it goes on, 0 if its client is told to retry."""
    answer = way.ask(get("/messages?room=user/anna", SSE, bearer(token)), to_head=True)
    return 0 if "transfer-encoding" not in answer.headers and answer.status == 200 else answer.status


def _open(way: Way, token: str) -> set[int]:
    """The statuses of streams with this token until one goes on."""
    told: set[int] = set()

    def goes_on() -> bool:
        told.add(_status(way, token))
        return 200 in told

    wait_for(goes_on, "a stream")
    return told


def test_somebody_who_logs_in_follows_and_publishes(provider: Provider, way: Way) -> None:
    token = provider.token("anna")
    _open(way, token)
    with Observer(way.port, "/messages?room=user/anna", headers={"Authorization": f"Bearer {token}"}) as follower:
        follower.until_live()
        answer = way.ask(publish({"room": "user/anna", "text": "x"}, bearer(token)))
        assert (answer.status, answer.json["user"]) == (201, "anna")
        assert follower.next().json["text"] == "x"
    assert way.ask(get("/messages?room=user/anna", SSE, bearer(provider.token("berta")))).status == 403


def test_a_rotation_refuses_nobody_and_ends_the_tokens_of_the_old_key(provider: Provider, way: Way) -> None:
    old = provider.token("anna")
    assert _open(way, old) <= {0, 200}
    with Observer(way.port, "/messages?room=user/anna", headers={"Authorization": f"Bearer {old}"}) as follower:
        follower.until_live()
        provider.end()
        provider.start()  # with another key, and without the old one
        new = provider.token("anna")
        assert _open(way, new) <= {0, 200}
        assert "bad token" not in way.running.said()
        end = follower.next()
        assert (end.name, end.json) == ("roomcast.end", {"reason": "revoked"})
    assert way.ask(get("/messages?room=user/anna", SSE, bearer(old))).status in (200, 401)


def test_workers_have_keys_of_their_own(provider: Provider, way: Way) -> None:
    config = way.running.folder / "roomcast.toml"
    running = start_roomcast(way.running.folder, f"--config={config}", "--log=memory:", "--workers=2")
    try:
        token = provider.token("anna")
        by_worker = Way("workers", running.port, running)
        told = [status for _ in range(16) for status in _open(by_worker, token)]
        assert set(told) <= {0, 200}
        running.process.send_signal(signal.SIGHUP)
        running.wait_until_it_says(r"read again: .*roomcast\.toml")
        assert {status for _ in range(16) for status in _open(by_worker, token)} <= {0, 200}
        assert "bad token" not in running.said()
    finally:
        running.kill()


def test_an_outage_refuses_nobody(provider: Provider, way: Way) -> None:
    known, later = provider.token("anna"), provider.token("carl")
    _open(way, known)
    provider.end()
    provider.start()
    unknown = provider.token("anna")
    provider.end()  # for good: this is the last test of the provider
    for accept in (SSE, NDJSON):
        answer = way.ask(get("/messages?room=user/anna", accept, bearer(unknown)))
        assert (answer.status, b"retry" in answer.body) == (200, True)
    answer = way.ask(publish({"room": "user/anna", "text": "x"}, bearer(unknown)))
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert _status(way, known) == 200
    me = way.ask(get("/me", bearer(later)))  # seen for the first time, and its key is known
    assert (me.status, me.json["user"]) == (200, "carl")
    way.running.wait_until_it_says(r"cannot fetch the keys at \S+ \(ConnectError.*valid for 24 h more")
    # Rights that are read again begin with the keys that are known.
    way.running.process.send_signal(signal.SIGHUP)
    way.running.wait_until_it_says(r"read again: .*roomcast\.toml")
    assert _status(way, known) == 200
