"""A browser's own EventSource with a ticket, or with a token in a cookie: it resumes, it ends, and no message is
missed or delivered twice."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, Route

from roomcast.auth.tickets import OPENS_SECONDS
from tests.browser.rights import Backend, ticket_of
from tests.browser.steps import eventually
from tests.running import Running
from tests.test_docs import blocks

ROOT = Path(__file__).parents[2]

LISTEN = """([url, options]) => {
  globalThis.seen = { texts: [], told: [] };
  globalThis.follow = (url) => {
    const source = new EventSource(url, options);
    globalThis.source = source;
    source.onopen = () => seen.told.push("open");
    source.onmessage = ({ data, lastEventId }) => {
      seen.texts.push(JSON.parse(data).text);
      seen.told.push("message");
      seen.last = lastEventId;
    };
    source.addEventListener("live", ({ data }) => seen.told.push(["live", JSON.parse(data).expires_in]));
    source.addEventListener("roomcast.end", ({ data, lastEventId }) => {
      seen.told.push(["end", JSON.parse(data).reason]);
      seen.last = lastEventId;
    });
    source.onerror = async () => {
      seen.told.push(["error", source.readyState]);
      if (source.readyState === EventSource.CLOSED && globalThis.another) {
        follow(`${await another()}&last_event_id=${seen.last}`);
      }
    };
  };
  follow(url);
}"""


@pytest.fixture
def own(tmp_path: Path, elsewhere: str) -> Iterator[Backend]:
    """For a test that ends its server."""
    backend = Backend(tmp_path, elsewhere)
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def with_cookies(tmp_path_factory: pytest.TempPathFactory, elsewhere: str) -> Iterator[Backend]:
    """For servers that take a token from a cookie."""
    backend = Backend(tmp_path_factory.mktemp("cookies"), elsewhere)
    backend.serve("--cookie", "roomcast")
    yield backend
    backend.close()


@pytest.fixture
def somewhere(page: Page, elsewhere: str) -> Page:
    page.goto(elsewhere)
    return page


@pytest.mark.parametrize("second", [False, True], ids=["restarted", "a second server"])
def test_a_ticket_resumes_after_kill_9(
    somewhere: Page, own: Backend, tmp_path_factory: pytest.TempPathFactory, second: bool
) -> None:
    """When the browser comes back, the ticket can no longer open one: only the id that the browser sends makes it
    a resume."""
    server = own.serve()
    url = own.ticket(server, "user/42")
    somewhere.evaluate(LISTEN, [url])
    _until(somewhere, "seen.told.some(([what]) => what === 'live')")
    own.publish(server, "before")
    _until(somewhere, "seen.texts.length === 1")
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    again = own.serve(
        port=server.port, folder=tmp_path_factory.mktemp("second") if second else None, later=2 * OPENS_SECONDS
    )
    assert again.send("HEAD", url.removeprefix(server.url)).status_code == 401
    for n in range(20):
        own.publish(again, f"after {n}")
    _until(somewhere, "seen.texts.length >= 21")
    own.publish(again, "the last")
    _until(somewhere, "seen.texts.includes('the last')")
    assert _seen(somewhere)["texts"] == ["before", *(f"after {n}" for n in range(20)), "the last"]
    assert ["error", 2] not in _seen(somewhere)["told"]


def test_a_ticket_that_is_not_renewed_ends_the_stream_for_good_and_says_so(
    somewhere: Page, backend: Backend, keyed: Running
) -> None:
    """Case 33."""
    expired, refused = backend.expired(keyed), _refused(backend, keyed)
    somewhere.evaluate(LISTEN, [backend.ticket(keyed, "user/42", seconds=2)])
    _until(somewhere, "seen.told.some(([what]) => what === 'live')")
    backend.publish(keyed, "in time")
    _until(somewhere, "source.readyState === 2")
    backend.publish(keyed, "too late")
    told = _seen(somewhere)["told"]
    [[_, expires_in]] = [entry for entry in told if entry[0] == "live"]
    assert 0 < expires_in <= 3  # the end is rounded up to a second
    rest = [entry for entry in told if entry[0] != "live"]
    assert rest == ["open", "message", ["end", "expired"], ["error", 0], ["error", 2]]
    assert _seen(somewhere)["texts"] == ["in time"]
    assert backend.expired(keyed) == expired + 1
    assert _refused(backend, keyed) > refused


def test_a_new_ticket_goes_on_where_the_old_one_ended(somewhere: Page, backend: Backend, keyed: Running) -> None:
    """Case 34 with tickets: at 100 messages a second, over several expiries."""
    somewhere.expose_function("another", lambda: backend.ticket(keyed, "user/42", seconds=1))
    somewhere.evaluate(LISTEN, [backend.ticket(keyed, "user/42", seconds=1)])
    _until(somewhere, "seen.told.some(([what]) => what === 'live')")
    with _Publisher(backend, keyed) as publisher:
        ends = "seen.told.filter(([what]) => what === 'end').length"
        eventually(somewhere, lambda: somewhere.evaluate(ends) >= 3, "three expiries")
    expected = publisher.texts
    eventually(somewhere, lambda: expected[-1] in _seen(somewhere)["texts"], "the last message")
    assert _seen(somewhere)["texts"] == expected


def test_the_documented_lines_go_on_with_another_ticket(
    somewhere: Page, elsewhere: str, backend: Backend, keyed: Running
) -> None:
    somewhere.clock.install()  # the lines wait for three seconds
    [script] = [
        block for block in blocks((ROOT / "docs/browser.md").read_text(), "js") if "function listen" in block
    ]
    given: list[str] = []
    heard: list[str] = []

    def give(route: Route) -> None:
        given.append(backend.ticket(keyed, "user/42", seconds=1))
        route.fulfill(status=200 if len(given) != 2 else 503, body=given[-1])

    somewhere.route("**/live-url", give)
    somewhere.on("console", lambda line: heard.append(line.text) if line.type == "log" else None)
    backend.publish(keyed, "0")
    somewhere.add_script_tag(content=script, type="module")
    sent = ["0"]

    def publish() -> bool:
        sent.append(str(len(sent)))
        backend.publish(keyed, sent[-1])
        somewhere.clock.run_for(300)
        return len(given) >= 3

    eventually(somewhere, publish, "another ticket, after one that was not given")
    eventually(somewhere, lambda: sent[-1] in heard, "the last message")
    assert heard == sent


def test_a_second_stream_with_the_ticket_replaces_the_first(
    somewhere: Page, backend: Backend, keyed: Running
) -> None:
    url = backend.ticket(keyed, "user/42")
    somewhere.evaluate(LISTEN, [url])
    _until(somewhere, "seen.told.some(([what]) => what === 'live')")
    with httpx.stream("GET", url) as other:
        assert other.status_code == 200
        _until(somewhere, "seen.told.some((entry) => String(entry) === 'end,replaced')")
        somewhere.evaluate("source.close()")


def test_34_a_cookie_from_another_port_goes_on_when_the_page_has_renewed_it(
    somewhere: Page, with_cookies: Backend
) -> None:
    """At 100 messages a second, over several expiries."""
    server = with_cookies.empty()

    def renew() -> None:
        _give_cookie(somewhere, with_cookies.token("user/42", seconds=2))

    def renewed_while(count: Callable[[], bool]) -> Callable[[], bool]:
        def look() -> bool:
            renew()
            return count()

        return look

    ended = "seen.told.filter(([what]) => what === 'end').length"
    renew()
    somewhere.evaluate(LISTEN, [f"{server.url}/messages?room=user/42", {"withCredentials": True}])
    _until(somewhere, "seen.told.some(([what]) => what === 'live')")
    with _Publisher(with_cookies, server) as publisher:
        eventually(somewhere, renewed_while(lambda: somewhere.evaluate(ended) >= 3), "three expiries")
    expected = publisher.texts
    eventually(somewhere, renewed_while(lambda: expected[-1] in _seen(somewhere)["texts"]), "the last message")
    assert _seen(somewhere)["texts"] == expected
    assert ["error", 2] not in _seen(somewhere)["told"]


def test_33_a_cookie_that_is_not_renewed_ends_the_stream_for_good(somewhere: Page, with_cookies: Backend) -> None:
    server = with_cookies.empty()
    _give_cookie(somewhere, with_cookies.token("user/42", seconds=2))
    url = f"{server.url}/messages?room=user/42"
    somewhere.evaluate(LISTEN, [url, {"withCredentials": True}])
    _until(somewhere, "source.readyState === 2")
    told = _seen(somewhere)["told"]
    assert told[-3:] == [["end", "expired"], ["error", 0], ["error", 2]]
    somewhere.evaluate(LISTEN, [url, {}])  # without `withCredentials` the browser sends no cookie
    _until(somewhere, "source.readyState === 2")
    assert _seen(somewhere)["told"] == [["error", 2]]


def test_a_ticket_opens_no_page_of_history(backend: Backend, keyed: Running) -> None:
    url = backend.ticket(keyed, "user/42")
    accept = {"Accept": "application/json"}
    assert keyed.get(url.removeprefix(keyed.url), headers=accept).status_code == 422
    bearer = {**accept, "Authorization": f"Bearer {ticket_of(url)}"}
    assert keyed.get("/messages?room=user/42", headers=bearer).status_code == 200


class _Publisher:
    """Publishes a hundred messages a second."""

    def __init__(self, backend: Backend, server: Running) -> None:
        self.texts: list[str] = []
        self._backend = backend
        self._server = server
        self._stop = Event()
        self._thread = Thread(target=self._run)

    def __enter__(self) -> _Publisher:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(headers=self._backend.headers, verify=False) as client:
            began = time.monotonic()
            while not self._stop.wait(max(0.0, began + len(self.texts) / 100 - time.monotonic())):
                text = str(len(self.texts))
                answer = client.post(f"{self._server.url}/messages", json={"room": "user/42", "text": text})
                assert answer.status_code == 201
                self.texts.append(text)


def _give_cookie(page: Page, credential: str) -> None:
    """Sets the cookie as the page's application would. Cookies do not distinguish ports."""
    page.evaluate("(value) => { document.cookie = `roomcast=${value}; SameSite=Lax` }", credential)


def _until(page: Page, condition: str) -> None:
    page.wait_for_function(condition, polling=50)


def _refused(backend: Backend, server: Running) -> float:
    """The number of requests that the server has answered with 401."""
    found = re.findall(
        r'^roomcast_requests_total\{[^}]*status="401"\} (\S+)', backend.metrics(server), re.MULTILINE
    )
    return sum(map(float, found))


def _seen(page: Page) -> Any:
    return page.evaluate("seen")
