"""`/roomcast.js` in pages of another origin, against a real server."""

from __future__ import annotations

import gzip
import json
import signal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, Request, Route

from tests.browser.node import node
from tests.conftest import Serve
from tests.running import PATIENCE, Running, free_port, wait_for
from tests.test_docs import blocks

ROOT = Path(__file__).parents[2]

_ALLOWED = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After"}

FOLLOW = """async ([module, options]) => {
  const roomcast = await import(module);
  const seen = { messages: [], gaps: [], live: [], states: [] };
  const following = roomcast.follow({
    ...options,
    onMessage: (message) => seen.messages.push(message.text ?? message.data),
    onGap: (gap) => seen.gaps.push(gap),
    onLive: (end) => seen.live.push(end.replayed),
    onState: (state) => seen.states.push(state),
  });
  Object.assign(globalThis, { roomcast, seen, following });
}"""


class Tab:
    """A page of another origin that follows."""

    def __init__(self, page: Page, server: Running, /, *rooms: str, **options: object) -> None:
        self.page = page
        asked = {"rooms": list(rooms or ["developers"]), **options}
        page.evaluate(FOLLOW, [f"{server.url}/roomcast.js", asked])

    @property
    def texts(self) -> Any:
        return self._seen("messages")

    @property
    def gaps(self) -> Any:
        return self._seen("gaps")

    @property
    def states(self) -> Any:
        return self._seen("states")

    @property
    def live(self) -> Any:
        return self._seen("live")

    @property
    def state(self) -> Any:
        return self.states[-1]

    @property
    def owner(self) -> bool:
        return bool(self.page.evaluate("following.owner"))

    def until(self, condition: str) -> None:
        # Polls by a timer: a tab in the background draws no frames.
        self.page.wait_for_function(condition, polling=50, timeout=PATIENCE * 1000)

    def until_live(self) -> None:
        self.until("following.state.name === 'live'")

    def until_received(self, *texts: object) -> None:
        try:
            self.until(f"seen.messages.length >= {len(texts)}")
        finally:
            assert self.texts == list(texts)

    def _seen(self, name: str) -> Any:
        return self.page.evaluate(f"seen.{name}")


def tabs(context: BrowserContext, elsewhere: str, server: Running, *rooms: tuple[str, ...]) -> list[Tab]:
    """Tabs of one browser, live, the first of them the owner."""
    opened = []
    for some in rooms:
        page = context.new_page()
        page.goto(elsewhere)
        opened.append(Tab(page, server, *some))
        opened[-1].until_live()
    assert [tab.owner for tab in opened] == [True] + [False] * (len(opened) - 1)
    return opened


def others_take_over(tabs: list[Tab]) -> Tab:
    wait_for(lambda: any(tab.owner for tab in tabs), "a new owner")
    [owner] = [tab for tab in tabs if tab.owner]
    return owner


@pytest.fixture
def somewhere(page: Page, elsewhere: str) -> Page:
    page.goto(elsewhere)
    return page


def test_three_lines_follow_and_publish_from_another_origin(somewhere: Page, server: Running) -> None:
    heard = somewhere.evaluate(
        """async (module) => {
          const { follow, publish } = await import(module);
          const heard = new Promise((onMessage) => follow({ rooms: "developers", onMessage }));
          const stored = await publish({ room: "developers", text: "moin" });
          return [stored, await heard];
        }""",
        f"{server.url}/roomcast.js",
    )
    assert heard[0] == heard[1]
    assert heard[0]["text"] == "moin"


@pytest.mark.parametrize("snippet", [0, 1], ids=["EventSource", "roomcast.js"])
def test_the_readmes_scripts_work_in_a_page_of_another_origin(
    somewhere: Page, server: Running, snippet: int
) -> None:
    script = blocks((ROOT / "README.md").read_text(), "js")[snippet].replace("http://localhost:8080", server.url)
    server.publish("was geht ab in buxtehude?", user="ada")
    with somewhere.expect_console_message(lambda line: "ada was geht ab in buxtehude?" in line.text):
        somewhere.add_script_tag(content=script, type="module")


def test_messages_of_every_type_come_and_the_end_of_the_replay(somewhere: Page, server: Running) -> None:
    server.publish("one")
    server.publish("two", type="order.paid")
    tab = Tab(somewhere, server)
    tab.until_live()
    assert tab.live == [2]
    server.publish("three", type="never.heard.of")
    tab.until_received("one", "two", "three")


def test_a_state_is_reported_when_it_changes_and_not_with_each_message(somewhere: Page, server: Running) -> None:
    tab = Tab(somewhere, server)
    tab.until_live()
    for n in range(3):
        server.publish(str(n))
    tab.until_received("0", "1", "2")
    assert [state["name"] for state in tab.states].count("live") == 1
    assert tab.live == [0]


def test_replay_says_where_to_start(somewhere: Page, server: Running) -> None:
    ids = [server.publish(str(n))["id"] for n in range(5)]
    for options, expected in (
        ({"replay": 2}, ["3", "4"]),
        ({"replay": "none"}, []),
        ({"since": "1h"}, ["0", "1", "2", "3", "4"]),
        ({"lastEventId": ids[2]}, ["3", "4"]),
    ):
        tab = Tab(somewhere, server, **options)
        tab.until_live()
        assert tab.texts == expected
        somewhere.evaluate("following.close()")


def test_more_than_a_page_is_replayed_whole(somewhere: Page, server: Running) -> None:
    for start in range(0, 2000, 500):
        server.post([{"room": "developers", "text": str(n)} for n in range(start, start + 500)])
    tab = Tab(somewhere, server)
    tab.until_live()
    assert tab.texts == [str(n) for n in range(2000)]
    assert [state["name"] for state in tab.states if state["name"] != "catching-up"] == ["connecting", "live"]


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_restart_costs_no_message(somewhere: Page, server: Running, serve: Serve, how: signal.Signals) -> None:
    tab = Tab(somewhere, server)
    server.publish("one")
    tab.until_received("one")
    server.process.send_signal(how)
    tab.until("following.state.name === 'reconnecting'")
    server.process.wait(PATIENCE)
    assert tab.state["until"] > somewhere.evaluate("Date.now()") - 10_000
    again = serve("--port", str(server.port))
    again.publish("two")
    somewhere.evaluate("following.retry()")
    tab.until_received("one", "two")
    tab.until_live()
    assert tab.gaps == []


def test_a_gap_is_reported_for_the_rooms_of_this_tab(somewhere: Page, serve: Serve) -> None:
    server = serve("--max-messages", "5")
    seen = server.publish("seen")
    tab = Tab(somewhere, server)
    tab.until_live()
    somewhere.route("**/messages**", lambda route: route.abort())
    server.kill()
    again = serve("--port", str(server.port), "--max-messages", "5")
    for n in range(12):
        again.publish(f"missed {n}")
    answer = again.get("/messages", params={"room": "developers", "last_event_id": seen["id"]},
                       headers={"Accept": "application/json"}).json()  # fmt: skip
    somewhere.unroute("**/messages**")
    somewhere.evaluate("following.retry()")
    tab.until_received("seen", *(message["text"] for message in answer["messages"]))
    assert tab.gaps == [answer["gap"]]


def test_rooms_are_followed_by_what_their_names_begin_with(somewhere: Page, server: Running) -> None:
    for room in ("team/7/a", "team/8/a", "team/7/b"):
        server.publish(room, room)
    tab = Tab(somewhere, server, "kitchen", prefixes="team/7/")
    wait_for(
        lambda: tab.texts == ["team/7/a", "team/7/b"] and tab.state["name"] == "live", "the retained messages"
    )
    for room in ("team/8/a", "team/7/c", "kitchen"):
        server.publish(room, room)
    wait_for(lambda: tab.texts == ["team/7/a", "team/7/b", "team/7/c", "kitchen"], "the new messages")
    assert somewhere.evaluate("following.rooms") == ["kitchen"]


def test_a_refusal_is_final_and_reported_in_the_servers_words(somewhere: Page, server: Running) -> None:
    tab = Tab(somewhere, server, "$no")
    tab.until("following.state.name === 'stopped'")
    answer = server.get("/messages", params={"room": "$no"}, headers={"Accept": "application/json"})
    assert tab.state == {"name": "stopped", "why": answer.json()["detail"], "status": answer.status_code}


def test_a_full_server_is_reported_and_waited_for(somewhere: Page, serve: Serve) -> None:
    server = serve("--max-followers", "1")
    tab = Tab(somewhere, server)
    tab.until_live()
    second = somewhere.context.new_page()
    second.goto(somewhere.url)
    other = Tab(second, server, share=False)
    other.until("following.state.name === 'overloaded'")
    assert 0 < other.state["until"] - second.evaluate("Date.now()") <= 10_000
    somewhere.evaluate("following.close()")
    wait_for(lambda: server.metric("roomcast_followers") == 0, "the place to be free")
    second.evaluate("following.retry()")
    other.until_live()


def test_a_proxys_error_is_reported_and_tried_again(somewhere: Page, server: Running) -> None:
    somewhere.route("**/messages**", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    tab = Tab(somewhere, server, share=False)
    tab.until("following.state.until")
    assert tab.state["name"] == "reconnecting"
    assert "502" in tab.state["why"]
    somewhere.unroute("**/messages**")
    server.publish("behind it")
    somewhere.evaluate("following.retry()")
    tab.until_received("behind it")


def test_a_network_that_is_gone_is_called_offline_and_its_return_is_used_at_once(
    somewhere: Page, context: BrowserContext, server: Running
) -> None:
    tab = Tab(somewhere, server)
    tab.until_live()
    context.set_offline(True)
    tab.until("following.state.name === 'offline'")
    server.publish("meanwhile")
    context.set_offline(False)
    tab.until_received("meanwhile")
    tab.until_live()


def test_replayed_counts_missed_messages_and_not_live_ones(somewhere: Page, server: Running, serve: Serve) -> None:
    server.post([{"room": "developers", "text": str(n)} for n in range(3)])
    tab = Tab(somewhere, server)
    tab.until_live()
    for start in range(0, 1500, 500):
        server.post([{"room": "developers", "text": str(n)} for n in range(start, start + 500)])
    tab.until("seen.messages.length === 1503")
    somewhere.route("**/messages?**", lambda route: route.abort())
    server.kill()
    tab.until("following.state.name === 'reconnecting'")
    again = serve("--port", str(server.port))
    again.post([{"room": "developers", "text": "missed"}] * 10)
    again.post([{"room": "kitchen", "text": "of nobody here"}] * 5)
    somewhere.unroute("**/messages?**")
    somewhere.evaluate("following.retry()")
    tab.until("seen.live.length === 2")
    assert tab.live == [3, 10]
    assert {state["messages"] for state in tab.states if state["name"] == "catching-up"} <= {3, 10}


def test_a_message_right_after_the_replay_is_not_counted_as_replayed(somewhere: Page, server: Running) -> None:
    """The message comes with the same read as the end of the replay."""

    def stream(route: Route) -> None:
        if "last_event_id" not in route.request.url:
            return route.continue_()
        data = {"room": "developers", "user": "ada", "text": "x", "timestamp": "2026-01-01T00:00:00.000Z"}
        message = "id: {0}\ndata: {1}\n\n"
        epoch, seq = parse_qs(route.request.url)["last_event_id"][0].split("-")
        ids = [f"{epoch}-{int(seq) + n}" for n in (5, 6, 7)]
        blocks = [message.format(id, json.dumps({**data, "id": id})) for id in ids]
        live = f"event: live\nid: {ids[1]}\ndata: {{}}\n\n"
        body = "".join([*blocks[:2], live, blocks[2]])
        return route.fulfill(content_type="text/event-stream", headers=_ALLOWED, body=body)

    somewhere.route("**/messages?**", stream)
    tab = Tab(somewhere, server)
    tab.until_received("x", "x", "x")
    assert tab.live == [2]


@pytest.mark.parametrize("share", [True, False], ids=["shared", "its own"])
def test_a_publish_that_gets_through_wakes_a_stream_that_waits(
    somewhere: Page, server: Running, share: bool
) -> None:
    """After an outage the page must not show "Stored" beside "Reconnecting"."""
    tab = Tab(somewhere, server, share=share)
    tab.until_live()
    refused_for_a_minute(tab)
    somewhere.unroute("**/messages?**")
    waits_until = tab.state["until"]
    somewhere.evaluate("roomcast.publish({ room: 'developers', text: 'through' })")
    tab.until_received("through")
    tab.until_live()
    assert somewhere.evaluate("Date.now()") < waits_until


def refused_for_a_minute(tab: Tab) -> list[str]:
    """Cuts the stream; when the tab comes back, it is told to wait for a minute. Returns the addresses that were
    refused, those of later tries included."""
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(status=503, headers={**_ALLOWED, "Retry-After": "60"})

    tab.page.route("**/messages?**", refuse)
    tab.page.evaluate("dispatchEvent(new Event('offline'))")
    tab.until("following.state.until")
    tab.page.evaluate("following.retry()")
    tab.until("following.state.until > Date.now() + 50_000")
    return asked


def test_many_publishes_do_not_each_retry_the_stream(somewhere: Page, server: Running) -> None:
    tab = Tab(somewhere, server)
    tab.until_live()
    asked = refused_for_a_minute(tab)
    began = somewhere.evaluate("Date.now()")
    somewhere.evaluate(
        """async () => {
          for (let n = 0; n < 20; n += 1) await roomcast.publish({ room: "developers", text: "x" });
        }"""
    )
    seconds = (somewhere.evaluate("Date.now()") - began) / 1000
    assert len(asked) <= 2 + seconds


def test_numbers_keep_their_digits_with_a_parse_function_of_the_page(somewhere: Page, server: Running) -> None:
    exact = '{"n": 12345678901234567890, "room": "not this one"}'
    server.publish("x", data={"n": 1})
    somewhere.evaluate(
        """async (module) => {
          const { follow, history } = await import(module);
          globalThis.seen = [];
          const parse = (json) => JSON.parse(json, (key, value, { source } = {}) =>
            typeof value === "number" && !Number.isSafeInteger(value) ? BigInt(source) : value);
          globalThis.following = follow({ rooms: "developers", parse, onMessage: ({ data }) => seen.push(data) });
        }""",
        f"{server.url}/roomcast.js",
    )
    somewhere.wait_for_function("following.state.name === 'live'")
    raw = f'{{"room": "developers", "data": {exact}}}'
    headers = {"Content-Type": "application/json"}
    assert httpx.post(f"{server.url}/messages", content=raw, headers=headers).status_code == 201
    somewhere.wait_for_function("seen.length === 2")
    assert somewhere.evaluate("String(seen[1].n)") == "12345678901234567890"
    somewhere.evaluate("following.close()")


def test_a_silent_connection_is_given_up(somewhere: Page, server: Running) -> None:
    """After a laptop's sleep, or behind a router that lost its state, no byte arrives and TCP reports no error."""
    somewhere.clock.install()
    tab = Tab(somewhere, server)
    tab.until_live()
    somewhere.clock.run_for(46_000)
    tab.until("seen.states.some((state) => state.why === 'the connection was cut')")
    somewhere.clock.run_for(5_000)
    tab.until_live()


def test_a_room_is_added_without_losing_its_place(somewhere: Page, server: Running) -> None:
    tab = Tab(somewhere, server, "one")
    server.publish("a", "one")
    server.publish("before", "two")
    tab.until_received("a")
    server.publish("b", "one")
    tab.until_received("a", "b")
    somewhere.evaluate("following.rooms = ['one', 'two']")
    server.publish("c", "two")
    server.publish("d", "one")
    tab.until_received("a", "b", "c", "d")


@pytest.mark.only_in("chromium", because="Firefox's automation does not tell a request's body")
def test_publishing_is_tried_again_under_the_same_key(somewhere: Page, server: Running) -> None:
    keys: list[str] = []

    def lose_the_first_answer(route: Route, request: Request) -> None:
        if request.method != "POST":
            return route.continue_()
        keys.append(request.headers["idempotency-key"])
        if len(keys) > 1:
            return route.continue_()
        route.fetch()
        return route.abort()

    somewhere.route("**/messages", lose_the_first_answer)
    tab = Tab(somewhere, server)
    stored, told = somewhere.evaluate(
        """async () => {
          const told = [];
          const onRetry = (failure, until) => told.push([failure.message, until > Date.now()]);
          return [await roomcast.publish([{ room: "developers", text: "once" }], { onRetry }), told];
        }"""
    )
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert told == [["the server cannot be reached", True]]
    tab.until_received("once")
    assert [one["text"] for one in stored] == ["once"]


def test_a_refused_publish_throws_what_is_wrong_and_where(somewhere: Page, server: Running) -> None:
    thrown = somewhere.evaluate(
        """async (module) => {
          const { publish, Refused } = await import(module);
          return publish({ room: "developers", text: "x", user: "" }).catch((error) =>
            [error instanceof Refused, error.status, error.passing, error.message, error.errors]);
        }""",
        f"{server.url}/roomcast.js",
    )
    detail = server.post({"room": "developers", "text": "x", "user": ""}).json()
    assert thrown == [True, 422, False, detail["detail"], detail["errors"]]


def test_seven_tabs_share_one_stream_and_each_hears_all(
    context: BrowserContext, elsewhere: str, server: Running
) -> None:
    """A browser opens six connections to an origin."""
    server.publish("before")
    seven = tabs(context, elsewhere, server, *[()] * 7)
    assert server.metric("roomcast_followers") == 1
    server.post([{"room": "developers", "text": str(n)} for n in range(20)])
    for tab in seven:
        tab.until_received("before", *(str(n) for n in range(20)))


def test_when_the_owner_closes_another_takes_over_and_none_loses_or_doubles_anything(
    context: BrowserContext, elsewhere: str, server: Running
) -> None:
    rest = tabs(context, elsewhere, server, *[()] * 5)
    expected = []
    for turn in range(3):
        owner = others_take_over(rest)
        rest.remove(owner)
        for moment in ("before", "while", "after"):
            server.publish(f"{moment} {turn}")
            expected.append(f"{moment} {turn}")
            if moment == "before":
                owner.page.close()
            if moment == "while":
                others_take_over(rest)
        for tab in rest:
            tab.until_received(*expected)
    wait_for(lambda: server.metric("roomcast_followers") == 1, "one stream for all")


def test_when_the_owner_freezes_another_takes_over_and_it_catches_up_when_it_thaws(
    context: BrowserContext, elsewhere: str, server: Running
) -> None:
    owner, *rest = tabs(context, elsewhere, server, (), (), ())
    # Playwright keeps all pages visible, and Chromium freezes only hidden ones. So the test does what Chromium
    # does:
    # it sends the event, and lets no script run until the page thaws.
    owner.page.evaluate(
        """() => {
          document.dispatchEvent(new Event("freeze"));
          setTimeout(() => {
            const end = Date.now() + 2000;
            while (Date.now() < end);
            document.dispatchEvent(new Event("resume"));
          }, 0);
        }"""
    )
    new_owner = others_take_over(rest)
    server.publish("while frozen")
    for tab in rest:
        tab.until_received("while frozen")
    owner.until_received("while frozen")
    assert new_owner.owner
    server.publish("after")
    for tab in (owner, *rest):
        tab.until_received("while frozen", "after")
    wait_for(lambda: server.metric("roomcast_followers") == 1, "one stream for all")


def test_an_owner_that_hangs_loses_the_stream_to_another_tab(
    context: BrowserContext, elsewhere: str, server: Running
) -> None:
    hung = context.new_page()
    hung.goto(elsewhere)
    owner = Tab(hung, server)
    owner.until_live()
    healthy = context.new_page()
    healthy.clock.install()
    healthy.goto(elsewhere)
    other = Tab(healthy, server)
    other.until_live()
    # The owner's scripts stand still, and it still holds the lock.
    hung.evaluate("void setTimeout(() => { const end = Date.now() + 2000; while (Date.now() < end); }, 0)")
    healthy.clock.run_for(100_000)
    other.until("following.owner")
    server.publish("taken over")
    other.until_received("taken over")
    owner.until_received("taken over")
    assert not owner.owner


def test_tabs_with_different_rooms_share_a_stream_and_hear_their_own(
    context: BrowserContext, elsewhere: str, server: Running
) -> None:
    rooms = [("a",), ("b",), ("a", "c")]
    three = tabs(context, elsewhere, server, *rooms)
    for room in "abc":
        server.publish(f"in {room}", room)
    for tab, some in zip(three, rooms, strict=True):
        tab.until_received(*(f"in {room}" for room in some))
    wait_for(lambda: server.metric("roomcast_followers") == 1, "one stream for all")


def test_tabs_with_more_rooms_than_a_stream_may_have_follow_them_all(
    context: BrowserContext, elsewhere: str, server: Running
) -> None:
    many = tuple(f"room {n}" for n in range(64))
    opened = []
    for some in (many, ("one more",)):
        page = context.new_page()
        page.goto(elsewhere)
        opened.append(Tab(page, server, *some))
        opened[-1].until_live()
    server.publish("x", "room 63")
    server.publish("y", "one more")
    opened[0].until_received("x")
    opened[1].until_received("y")


def test_tabs_survive_the_servers_restart_together(
    context: BrowserContext, elsewhere: str, server: Running, serve: Serve
) -> None:
    three = tabs(context, elsewhere, server, *[()] * 3)
    server.publish("one")
    server.kill()
    for tab in three:
        tab.until("following.state.name === 'reconnecting'")
    again = serve("--port", str(server.port))
    again.publish("two")
    three[1].page.evaluate("following.retry()")  # not the tab with the stream
    for tab in three:
        tab.until_received("one", "two")
        tab.until_live()
    assert again.metric("roomcast_followers") == 1


def test_the_decoder_reads_a_stream_however_it_is_cut(tmp_path: Path) -> None:
    stream = (
        "\ufeff: comment\r\nid: a-1\rdata: one\ndata:  two\n\n"
        "event: live\r\ndata\r\n\r\nid: x\0y\ndata: ü€😀\n\nid\nretry: 12\nretry: 1x\n\ndata: lost"
    ).encode()
    script = f"""
        const {{ Decoder }} = roomcast;
        const bytes = Uint8Array.from({json.dumps(list(stream))});
        const seen = new Set();
        for (let size = 1; size <= bytes.length; size += 1) {{
          const decoder = new Decoder();
          const blocks = [];
          for (let at = 0; at < bytes.length; at += size) {{
            blocks.push(...decoder.push(bytes.subarray(at, at + size)));
          }}
          seen.add(JSON.stringify([blocks, decoder.retry, decoder.id]));
        }}
        console.log(`[${{[...seen].join()}}]`);
    """
    assert node(script, tmp_path) == [
        [
            [
                {"event": "message", "data": "one\n two", "id": "a-1"},
                {"event": "live", "data": "", "id": "a-1"},
                {"event": "message", "data": "ü€😀", "id": "a-1"},
            ],
            12,
            "",
        ]
    ]


def test_the_module_is_small_and_is_fetched_once(server: Running) -> None:
    elsewhere = "http://localhost:5173"
    answer = server.get("/roomcast.js", headers={"Origin": elsewhere})
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == elsewhere
    assert len(gzip.compress(answer.content)) < 8 * 1024
    unchanged = server.get("/roomcast.js", headers={"If-None-Match": answer.headers["etag"]})
    assert unchanged.status_code == 304


def test_the_decoder_passes_the_vectors(tmp_path: Path) -> None:
    """The cases are those of the Python decoder. Each stream is fed whole, and as single bytes."""
    vectors = ROOT / "tests/spec/event_stream.json"
    script = f"""
        import {{ readFileSync }} from "node:fs";
        const {{ Decoder }} = roomcast;
        const {{ cases }} = JSON.parse(readFileSync({json.dumps(str(vectors))}));
        const bytes = (piece) => Buffer.from(piece.hex ?? piece, piece.hex === undefined ? "utf8" : "hex");
        const wrong = [];
        for (const {{ name, input, events, last_event_id, retry }} of cases) {{
          const stream = Buffer.concat(input.map(bytes));
          for (const size of [1, stream.length || 1]) {{
            const decoder = new Decoder();
            const seen = [];
            for (let at = 0; at < stream.length; at += size) {{
              seen.push(...decoder.push(stream.subarray(at, at + size)));
            }}
            const told = seen.map(({{ event, data, id }}) => ({{ type: event, data, id }}));
            const end = [told, decoder.id, decoder.retry ?? null];
            const right = [events, last_event_id, retry];
            if (JSON.stringify(end) !== JSON.stringify(right)) wrong.push([name, size, end]);
          }}
        }}
        console.log(JSON.stringify([cases.length > 0, wrong]));
    """
    assert node(script, tmp_path) == [True, []]


def test_a_follow_that_is_closed_while_it_waits_reports_nothing_more(tmp_path: Path) -> None:
    script = f"""
        const states = [];
        const following = roomcast.follow({{
          server: "http://127.0.0.1:{free_port()}/",
          rooms: "a",
          onState({{ name, until }}) {{
            states.push(name);
            if (!until) return;
            following.close();
            setTimeout(() => console.log(JSON.stringify(states)));
          }},
        }});
    """
    assert node(script, tmp_path) == ["connecting", "reconnecting"]
