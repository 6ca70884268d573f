"""`/roomcast.js` with a credential: requested for each connection, refused in words, and never in an address."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, Request, Route

from tests.browser.rights import Backend, ticket_of
from tests.browser.steps import eventually, in_one_browser
from tests.running import PATIENCE, Running

FOLLOW = """async ([module, { how, ...options }]) => {
  const roomcast = await import(module);
  const seen = { texts: [], states: [], gaps: 0, live: 0 };
  const following = roomcast.follow({
    ...options,
    ...(how && { [how]: () => credential() }),
    onMessage: (message) => seen.texts.push(message.text),
    onGap: () => (seen.gaps += 1),
    onLive: () => (seen.live += 1),
    onState: (state) => seen.states.push(state),
  });
  Object.assign(globalThis, { roomcast, seen, following });
}"""


class Tab:
    """A page of another origin that follows. `credentials` are those that it was given, the newest last."""

    def __init__(self, page: Page, elsewhere: str, server: Running, credentials: Iterator[str]) -> None:
        self.page = page
        self.given: list[str] = []
        self.asked: list[Request] = []
        self._server = server
        self._credentials = credentials
        page.on("request", lambda request: self.asked.append(request))
        page.goto(elsewhere)
        page.expose_function("credential", self._give)

    def follow(self, how: str, /, *rooms: str, **options: object) -> None:
        asked = {"how": how, **({"rooms": list(rooms)} if rooms else {}), **options}
        self.page.evaluate(FOLLOW, [f"{self._server.url}/roomcast.js", asked])

    def until(self, condition: str) -> None:
        self.page.wait_for_function(condition, polling=50, timeout=PATIENCE * 1000)

    def until_live(self) -> None:
        self.until("following.state.name === 'live'")

    @property
    def texts(self) -> list[str]:
        texts = self.page.evaluate("seen.texts")
        assert isinstance(texts, list)
        return texts

    @property
    def states(self) -> list[str]:
        return [state["name"] for state in self.page.evaluate("seen.states")]

    def _give(self) -> str:
        self.given.append(next(self._credentials))
        return self.given[-1]


def tickets(backend: Backend, server: Running, *rooms: str, seconds: int) -> Iterator[str]:
    while True:
        yield backend.ticket(server, *rooms, seconds=seconds)


def bearers(urls: Iterator[str]) -> Iterator[str]:
    return (ticket_of(url) for url in urls)


@pytest.mark.parametrize("how", ["url", "token"])
def test_a_stream_goes_on_over_the_ends_of_its_credentials(
    page: Page, elsewhere: str, backend: Backend, keyed: Running, how: str
) -> None:
    urls = tickets(backend, keyed, "user/42", seconds=2)
    tab = Tab(page, elsewhere, keyed, urls if how == "url" else bearers(urls))
    tab.follow(how, *(["user/42"] if how == "token" else []))
    tab.until_live()
    sent: list[str] = []

    def publish() -> bool:
        sent.append(str(len(sent)))
        backend.publish(keyed, sent[-1])
        return len(tab.given) >= 4  # one for the retained messages, three for streams

    eventually(page, publish, "two renewals")
    eventually(page, lambda: len(tab.texts) >= len(sent), "all messages")
    assert tab.texts == sent
    assert set(tab.states) <= {"connecting", "catching-up", "live"}
    assert page.evaluate("[seen.live, seen.gaps]") == [1, 0]


def test_a_credential_is_renewed_before_it_expires(
    page: Page, elsewhere: str, backend: Backend, keyed: Running
) -> None:
    """In the last quarter of its lifetime. The time is the page's own: the server would wait for 40 s."""
    before = backend.expired(keyed)
    page.clock.install()
    tab = Tab(page, elsewhere, keyed, bearers(tickets(backend, keyed, "user/42", seconds=40)))
    tab.follow("token", "user/42")
    tab.until_live()
    assert len(tab.given) == 2  # one for the retained messages, one for the stream
    page.clock.run_for(28_000)
    assert len(tab.given) == 2
    page.clock.run_for(10_000)
    eventually(page, lambda: len(tab.given) == 3, "a renewal")

    def renewed_again() -> bool:
        page.clock.run_for(1000)
        return len(tab.given) >= 4

    eventually(page, renewed_again, "another renewal")
    assert backend.expired(keyed) == before


def test_no_credential_is_in_an_address(page: Page, elsewhere: str, backend: Backend, keyed: Running) -> None:
    tab = Tab(page, elsewhere, keyed, tickets(backend, keyed, "user/42", seconds=60))
    tab.follow("url")
    tab.until_live()
    asked = [request for request in tab.asked if "/messages" in request.url and request.method == "GET"]
    assert [ticket_of(url) in request.url for url in tab.given for request in asked].count(True) == 0
    assert {request.header_value("authorization") for request in asked} == {
        f"Bearer {ticket_of(url)}" for url in tab.given
    }


@in_one_browser
def test_an_expired_token_is_asked_for_once_more_and_then_it_stops_in_the_servers_words(
    page: Page, elsewhere: str, backend: Backend, keyed: Running
) -> None:
    frozen = ticket_of(backend.ticket(keyed, "user/42", seconds=2))
    tab = Tab(page, elsewhere, keyed, iter([frozen] * 100))
    tab.follow("token", "user/42")
    tab.until("following.state.name === 'stopped'")
    state = page.evaluate("following.state")
    assert state == {"name": "stopped", "why": "ticket-expired", "status": 401}
    messages = [request for request in tab.asked if "last_event_id" in request.url and request.method == "GET"]
    assert len(messages) == 3  # the stream, its resume, and one more try


def test_a_url_that_cannot_be_parsed_is_named_and_its_function_is_asked_again(
    page: Page, elsewhere: str, backend: Backend, keyed: Running
) -> None:
    tab = Tab(page, elsewhere, keyed, iter([]))
    page.evaluate("""(url) => {
      let times = 0;
      globalThis.credential = () => ((times += 1) === 1 ? "http://[" : url);
    }""", backend.ticket(keyed, "user/42"))  # fmt: skip
    tab.follow("url")
    tab.until("seen.states.some(({ why }) => why)")
    assert page.evaluate("seen.states.find(({ why }) => why).why") == "url() gave something other than a url"
    page.evaluate("following.retry()")
    tab.until_live()


@in_one_browser
def test_a_room_that_is_not_granted_stops_at_once_and_is_named(
    page: Page, elsewhere: str, backend: Backend, keyed: Running
) -> None:
    tab = Tab(page, elsewhere, keyed, bearers(tickets(backend, keyed, "user/42", seconds=60)))
    tab.follow("token", "user/42", "user/43")
    tab.until("following.state.name === 'stopped'")
    state = page.evaluate("following.state")
    assert state["status"] == 403
    assert "user/43" in state["why"]
    assert len(tab.given) == 1


@in_one_browser
def test_a_function_that_throws_is_asked_again_and_one_that_gives_nothing_makes_nobody_a_stranger(
    page: Page, elsewhere: str, backend: Backend, keyed: Running
) -> None:
    backend.publish(keyed, "for all", "public/a")
    token = ticket_of(backend.ticket(keyed, "public/a"))
    tab = Tab(page, elsewhere, keyed, iter([]))
    page.evaluate("""(token) => {
      let times = 0;
      globalThis.credential = () => {
        times += 1;
        if (times === 1) throw new Error("away");
        return times === 2 ? "<h1>Bad Gateway</h1>" : token;
      };
    }""", token)  # fmt: skip
    tab.follow("token", "public/a")
    tab.until("seen.states.some(({ why }) => why === 'token() failed: away')")
    page.evaluate("following.retry()")
    tab.until("seen.states.some(({ why }) => why === 'token() gave something other than a token')")
    page.evaluate("following.retry()")
    tab.until_live()
    assert tab.texts == ["for all"]
    page.evaluate("globalThis.credential = () => undefined")
    tab.follow("token", "public/a")
    tab.until("following.state.name === 'stopped'")
    assert page.evaluate("following.state.why") == "token() gave nothing"
    assert tab.texts == []


@in_one_browser
def test_a_publish_asks_for_another_token_once(
    page: Page, elsewhere: str, backend: Backend, keyed: Running
) -> None:
    good = ticket_of(backend.ticket(keyed, "user/42", publish=["chat"], sub="42", user="ada"))
    tab = Tab(page, elsewhere, keyed, iter(["rct1_bad", good, "rct1_bad", "rct1_worse", "unasked"]))
    publish = """async (module) => {
      const { publish } = await import(module);
      const message = { room: "chat", text: "moin" };
      return publish(message, { token: credential }).catch(({ status, message }) => ({ status, message }));
    }"""
    module = f"{keyed.url}/roomcast.js"
    assert page.evaluate(publish, module)["user"] == "ada"
    assert page.evaluate(publish, module) == {"status": 401, "message": "not valid"}
    assert len(tab.given) == 4


@in_one_browser
def test_a_ticket_that_is_taken_over_does_not_fight_for_it(
    page: Page, elsewhere: str, backend: Backend, keyed: Running
) -> None:
    """For example if something between the page and the server puts a ticket into the address."""
    id = backend.publish(keyed, "moin")
    streams: list[str] = []

    def replaced(route: Route) -> None:
        if "last_event_id" not in route.request.url:
            return route.continue_()
        streams.append(route.request.url)
        blocks = [("live", '{"replayed":0,"expires_in":60}'), ("roomcast.end", '{"reason":"replaced"}')]
        body = "".join(f"id: {id}\nevent: {event}\ndata: {data}\n\n" for event, data in blocks)
        allowed = {"Access-Control-Allow-Origin": "*"}
        return route.fulfill(content_type="text/event-stream", headers=allowed, body=body)

    tab = Tab(page, elsewhere, keyed, iter([backend.ticket(keyed, "user/42")] * 100))
    page.route("**/messages?**", replaced)
    tab.follow("url")
    tab.until("following.state.name === 'stopped'")
    assert page.evaluate("following.state.why") == "another connection uses this ticket: give each tab its own"
    assert len(streams) == 1


def test_tabs_of_one_user_share_a_stream_and_those_of_another_do_not(
    context: BrowserContext, elsewhere: str, backend: Backend, keyed: Running
) -> None:
    """Case 52: one user logs out and another logs in, while a tab of the first is still open."""

    def opened(user: str, **options: object) -> Tab:
        room = f"user/{user}"
        tab = Tab(context.new_page(), elsewhere, keyed, bearers(tickets(backend, keyed, room, seconds=600)))
        tab.follow("token", room, **options)
        tab.until_live()
        return tab

    first, again, other = opened("42", **{"as": "42"}), opened("42", **{"as": "42"}), opened("7", **{"as": "7"})
    assert [tab.page.evaluate("following.owner") for tab in (first, again, other)] == [True, False, True]
    alone = opened("42")
    assert alone.page.evaluate("following.owner")
    for room in ("user/42", "user/7"):
        backend.publish(keyed, room, room)
    for tab, expected in ((first, "user/42"), (again, "user/42"), (other, "user/7"), (alone, "user/42")):
        eventually(tab.page, lambda tab=tab: tab.texts, "its message")  # type: ignore[misc]
        assert tab.texts == [expected]
    locks = json.dumps(other.page.evaluate("navigator.locks.query()"))
    assert "roomcast 3 42 " in locks
    assert "roomcast 3 7 " in locks


def test_tabs_of_one_user_whose_tickets_are_for_different_rooms_go_apart(
    context: BrowserContext, elsewhere: str, backend: Backend, keyed: Running
) -> None:
    """The server would refuse a shared stream, and with it the rooms that each tab may read."""

    def opened(room: str) -> Tab:
        tab = Tab(context.new_page(), elsewhere, keyed, tickets(backend, keyed, room, seconds=600))
        tab.follow("url", **{"as": "42"})
        return tab

    tabs = [opened(room) for room in ("user/42", "news")]
    for tab in tabs:
        tab.until_live()
    for room in ("user/42", "news"):
        backend.publish(keyed, room, room)
    for tab, expected in zip(tabs, ("user/42", "news"), strict=True):
        eventually(tab.page, lambda tab=tab: tab.texts, "its message")  # type: ignore[misc]
        assert tab.texts == [expected]
        assert "stopped" not in tab.states
