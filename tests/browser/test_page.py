"""The page in real browsers, against a real server."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import BrowserContext, Error, Page, Route, expect

from tests.browser.steps import (
    EXAMPLE,
    again,
    away,
    back,
    cut,
    eventually,
    history,
    in_one_browser,
    open_room,
    post,
    state,
    texts,
)
from tests.conftest import Serve
from tests.running import PATIENCE, Running, wait_for
from tests.server.test_mounted import PROGRAMS, run


def test_a_message_posted_appears_once(page: Page, server: Running) -> None:
    open_room(page, server)
    [id] = post(server, {"text": EXAMPLE, "user": "ada"})
    line = page.locator(f'li.message[data-id="{id}"]')
    expect(line.locator(".text")).to_have_text(EXAMPLE)
    expect(line.locator(".user")).to_have_text("ada")
    expect(line.locator("time")).to_have_attribute("datetime", re.compile(r"^\d{4}-.+Z$"))
    expect(texts(page)).to_have_count(1)


def test_the_history_is_there_in_order_when_a_room_is_opened(page: Page, server: Running) -> None:
    post(server, "one", "two", "three")
    open_room(page, server)
    expect(texts(page)).to_have_text(["one", "two", "three"])


def test_the_state_is_reported_from_connecting_to_live(page: Page, server: Running) -> None:
    page.add_init_script(
        """globalThis.states = [];
        const note = ([{ target }]) => states.push(target.dataset.state);
        new MutationObserver(note).observe(document, { subtree: true, attributeFilter: ["data-state"] });"""
    )
    post(server, "one", "two")
    open_room(page, server)
    assert [*dict.fromkeys(page.evaluate("states"))] == ["connecting", "catching-up", "live"]
    expect(state(page)).to_have_text("Live")


@in_one_browser
def test_a_newcomer_sends_the_example_by_pressing_a_button(page: Page, server: Running) -> None:
    open_room(page, server)
    expect(page.locator("#text")).to_have_value("")
    expect(page.locator("#text")).to_have_attribute("placeholder", EXAMPLE)
    page.get_by_role("button", name="Send the first message").click()
    expect(texts(page)).to_have_text([EXAMPLE])
    expect(page.locator("li.message .user")).to_have_text("anonymous")
    expect(page.locator("#text")).to_have_value("")


def test_shift_enter_starts_a_line_and_the_name_is_remembered(page: Page, server: Running) -> None:
    open_room(page, server)
    page.locator("#user").fill("ada")
    page.locator("#text").fill("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")
    page.locator("#send button[type=submit]").click()
    expect(texts(page)).to_have_text(["one\ntwo"], use_inner_text=True)
    page.reload()
    expect(page.locator("#user")).to_have_value("ada")
    expect(page.locator("li.message .user")).to_have_text("ada")


def test_enter_that_ends_a_composition_does_not_send(page: Page, server: Running) -> None:
    open_room(page, server)
    composed = {"key": "Enter", "isComposing": True, "bubbles": True, "cancelable": True}
    page.locator("#text").dispatch_event("keydown", composed)
    page.locator("#text").fill("afterwards")
    page.keyboard.press("Enter")
    expect(texts(page)).to_have_text(["afterwards"])


@in_one_browser
def test_the_empty_room_shows_three_ways_to_send_to_itself(page: Page, server: Running) -> None:
    open_room(page, server, "caf%C3%A9")
    body = f'{{"room": "café", "text": "{EXAMPLE}"}}'
    line = f"curl -X POST -H 'Content-Type: application/json' -d '{body}' {server.url}/messages"
    ways = page.locator("#ways code")
    expect(ways).to_have_count(3)
    curl, python, javascript = ways.all()
    expect(curl).to_have_text(line)
    expect(python).to_contain_text(f'client.publish("café", text="{EXAMPLE}")')
    expect(javascript).to_contain_text(f"await publish({body});")
    expect(page.locator("#ways .copy")).to_have_count(3)
    post(server, {"text": "first", "room": "café"})
    expect(page.locator("#empty")).to_be_hidden()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_page_left_open_shows_each_message_once_across_a_restart(
    page: Page, server: Running, serve: Serve, how: signal.Signals
) -> None:
    page.clock.install()
    open_room(page, server)
    post(server, "one", "two")
    expect(texts(page)).to_have_text(["one", "two"])
    server.process.send_signal(how)
    expect(state(page)).to_have_attribute("data-state", "reconnecting")
    expect(state(page)).to_contain_text("Reconnecting")
    server.process.wait(PATIENCE)
    server = again(serve, server)
    post(server, "three", "four")
    page.clock.run_for(10_000)  # a drained server asks for up to 10 s
    expect(state(page)).to_have_attribute("data-state", "live")
    post(server, "five")
    expect(texts(page)).to_have_text(["one", "two", "three", "four", "five"])
    expect(page.locator("li.gap")).to_have_count(0)


@in_one_browser
def test_messages_lost_during_an_absence_are_reported_in_their_place(page: Page, serve: Serve) -> None:
    server = serve("--max-messages", "5")
    [seen] = post(server, "seen")
    open_room(page, server)
    away(page)
    server.kill()
    server = again(serve, server, "--max-messages", "5")
    for n in range(12):
        post(server, f"missed {n}")
    told = history(server, last_event_id=seen)
    back(page)
    lost = told["gap"]["lost_at_most"]
    expect(page.locator("li.gap")).to_have_text(f"Up to {lost} messages were lost here: no longer kept.")
    expect(texts(page)).to_have_text(["seen", *(message["text"] for message in told["messages"])])
    expect(page.locator("#lines > .message").first).to_contain_text("seen")
    expect(page.locator("#lines > .gap + .message")).to_contain_text(told["messages"][0]["text"])


@in_one_browser
def test_a_log_under_a_new_epoch_is_reported_in_words(page: Page, server: Running, serve: Serve) -> None:
    post(server, "seen")
    open_room(page, server)
    away(page)
    server.terminate()
    again(serve, server, "--new-epoch")
    back(page)
    expect(page.locator("li.gap")).to_contain_text("log was replaced or restored")


def test_a_message_sent_while_the_server_is_down_is_kept_and_stored_once(
    page: Page, server: Running, serve: Serve
) -> None:
    page.clock.install()
    open_room(page, server)
    server.kill()
    page.locator("#text").fill("patient")
    page.keyboard.press("Enter")
    expect(page.locator("li.pending .status")).to_contain_text("Not sent yet")
    expect(page.locator("li.pending .text")).to_have_text("patient")
    server = again(serve, server)
    page.clock.run_for(10_000)
    expect(page.locator("li.pending")).to_have_count(0)
    expect(texts(page)).to_have_text(["patient"])
    assert [message["text"] for message in history(server)["messages"]] == ["patient"]


@pytest.mark.only_in("chromium", because="Firefox's automation does not tell a request's body")
def test_an_answer_lost_on_the_way_does_not_store_twice(page: Page, server: Running) -> None:
    open_room(page, server)
    keys: list[str] = []

    def lose_the_first_answer(route: Route) -> None:
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) > 1:
            return route.continue_()
        route.fetch()
        return route.abort()

    page.route("**/messages", lose_the_first_answer)
    page.locator("#text").fill(EXAMPLE)
    page.keyboard.press("Enter")
    eventually(page, lambda: len(keys) == 2, "a second try")
    assert len(set(keys)) == 1
    post(server, "afterwards")
    expect(texts(page)).to_have_text([EXAMPLE, "afterwards"])


@in_one_browser
def test_a_refused_message_is_reported_in_plain_words_and_the_text_stays(page: Page, server: Running) -> None:
    open_room(page, server)
    page.locator("#text").fill("mine")
    page.locator("#user").fill("u" * 129)
    page.locator("#user").press("Enter")
    expect(page.locator("#send-error")).to_have_text("Not sent: A name has at most 128 characters.")
    expect(page.locator("#text")).to_have_value("mine")
    expect(page.locator("#user")).to_have_attribute("aria-invalid", "true")
    page.locator("#user").fill("")
    page.locator("#developer-open").click()
    page.locator("#type").fill("gap")
    page.locator("#type").press("Enter")
    expect(page.locator("#send-error")).to_contain_text("A type has 1 to 64 characters on one line.")
    expect(page.locator("#type")).to_have_attribute("aria-invalid", "true")


@in_one_browser
def test_a_developer_sends_a_type_and_data_and_copies_the_code_for_it(page: Page, server: Running) -> None:
    open_room(page, server)
    page.locator("#developer-open").click()
    page.locator("#type").fill("order.paid")
    page.locator("#data").fill('{"order": 12345678901234567890')
    expect(page.locator("#data-error")).to_contain_text("Not valid JSON yet")
    page.locator("#submit").click()
    assert history(server)["messages"] == []
    page.locator("#data").fill('{"order": 12345678901234567890, "new": true}')
    expect(page.locator("#data-error")).to_be_empty()
    key = f"once-{server.metric('roomcast_messages_published_total')}"
    page.locator("#key").fill(key)
    page.evaluate(
        "globalThis.copied = []; navigator.clipboard.writeText = async (text) => { copied.push(text); }; 0"
    )
    for copy in page.locator("#send-copies button").all():
        copy.click()
    eventually(page, lambda: page.evaluate("copied.length") == 3, "the lines")
    curl, python, javascript = page.evaluate("copied")
    assert f"-H 'Idempotency-Key: {key}'" in curl
    assert 'type="order.paid", data={"order": 12345678901234567890, "new": True}, ' in python
    assert f'idempotency_key="{key}")' in python
    assert javascript.endswith(f', {{ key: "{key}" }});')
    page.locator("#submit").click()
    expect(page.locator("li.message[data-id] .json")).to_have_text('{"order": 12345678901234567890, "new": true}')
    [stored] = history(server)["messages"]
    assert stored["type"] == "order.paid"
    assert stored["data"]["order"] == 12345678901234567890
    assert "text" not in stored
    expect(page.locator("#data")).to_have_value("")


@in_one_browser
def test_a_room_with_an_invalid_name_is_refused_in_a_sentence_and_the_others_are_there(
    page: Page, server: Running
) -> None:
    post(server, {"room": "kitchen", "text": "there"})
    page.goto(f"{server.url}/?room=%24internal")
    expect(state(page)).to_have_attribute("data-state", "stopped")
    expect(page.locator("#refused-why")).to_contain_text("does not begin with $")
    page.locator("#rooms a[data-room=kitchen]").click()
    expect(texts(page)).to_have_text(["there"])
    expect(page.locator("#refused")).to_be_hidden()
    expect(page.locator("#rooms a")).to_have_count(1)


def test_the_panel_says_what_the_connection_did_and_why_it_was_cut(page: Page, server: Running) -> None:
    open_room(page, server)
    [id] = post(server, "one")
    expect(texts(page)).to_have_text(["one"])
    loaded = "performance.getEntriesByType('resource').some(({ name }) => name.endsWith('panel.js'))"
    eventually(page, lambda: page.evaluate(loaded), "the panel to be loaded ahead")
    away(page)
    cut(page)
    expect(page.locator("#reason")).not_to_be_empty()
    page.locator("#panel-open").click()
    panel = page.locator("#panel")
    expect(panel).to_contain_text("HTTP/1.1")
    expect(panel.locator("code")).to_have_text(id)
    expect(panel.locator(".ends li").first).to_contain_text("Reconnecting")
    expect(panel).to_contain_text(re.compile(r"Last message\s*\d+ sec ago"))
    expect(panel.locator("figcaption").first).to_contain_text(re.compile(r"at most \d+ ms"))
    expect(panel).to_contain_text("read and write")
    page.keyboard.press("Escape")
    page.locator("#messages").focus()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_contain_text("find or open a room")


@in_one_browser
def test_after_an_absence_the_page_says_how_many_messages_came_and_how_many_are_lost(
    page: Page, serve: Serve
) -> None:
    server = serve("--max-messages", "20")
    post(server, "seen")
    open_room(page, server)
    expect(texts(page)).to_have_text(["seen"])
    expect(page.locator("#away")).to_be_hidden()
    read = "localStorage.getItem('roomcast.read') ?? ''"
    eventually(page, lambda: "developers" in page.evaluate(read), "the id to be remembered")
    page.goto("about:blank")
    for n in range(60):
        post(server, f"missed {n}")
    page.goto(f"{server.url}/page/icon.svg")
    page.evaluate("localStorage.setItem('roomcast.seen', String(Date.now() - 14 * 60000))")
    open_room(page, server)
    kept = history(server)["messages"]
    told = page.locator("#away-text")
    expect(told).to_have_text(re.compile(rf"^You were away 14 min: {len(kept)} new, up to \d+ lost$"))
    page.get_by_role("button", name="First new message").click()
    expect(page.locator("li.picked .text")).to_have_text(kept[0]["text"])
    expect(page.locator("li.gap")).to_be_in_viewport()
    expect(page.locator("#away")).to_be_hidden()


@in_one_browser
def test_the_button_for_lost_messages_leads_to_the_gap_of_this_room(page: Page, serve: Serve) -> None:
    """The stream continues with a message of another room."""
    server = serve("--max-messages", "20")
    post(server, {"room": "noise", "text": "x"}, "seen")
    open_room(page, server)
    expect(page.locator("#rooms a")).to_have_count(2)
    away(page)
    server.kill()
    server = again(serve, server, "--max-messages", "20")
    for room, count in (("developers", 10), ("noise", 30), ("developers", 5)):
        for n in range(count):
            post(server, {"room": room, "text": f"missed {n}"})
    back(page)
    page.get_by_role("button", name="Lost messages").click()
    expect(page.locator("li.gap.picked")).to_be_in_viewport()
    expect(page.locator("#notice")).to_be_hidden()


def test_another_room_is_opened_and_the_back_button_returns(page: Page, server: Running) -> None:
    post(server, "here")
    post(server, {"text": "there", "room": "other"})
    open_room(page, server)
    page.locator("#room").fill("other")
    page.keyboard.press("Enter")
    expect(texts(page)).to_have_text(["there"])
    expect(page).to_have_url(f"{server.url}/?room=other")
    page.go_back()
    expect(texts(page)).to_have_text(["here"])
    expect(page.locator("#room-title")).to_have_text("developers")
    page.go_forward()
    expect(texts(page)).to_have_text(["there"])


@in_one_browser
def test_without_a_room_in_the_address_it_is_developers(page: Page, server: Running) -> None:
    post(server, "here")
    page.goto(f"{server.url}/")
    expect(texts(page)).to_have_text(["here"])
    expect(page.locator("#room-title")).to_have_text("developers")


def test_a_stream_refused_by_a_proxy_is_tried_again(page: Page, server: Running) -> None:
    """EventSource gives up for good on a 502; the page does not."""
    page.route("**/messages?**", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    post(server, "behind it")
    page.clock.install()
    page.goto(f"{server.url}/?room=developers")
    expect(page.locator("#reason")).to_contain_text("502")
    expect(page.locator("#countdown")).to_have_text(re.compile(r"retrying in \d s"))
    page.unroute("**/messages?**")
    page.clock.run_for(5_000)
    expect(state(page)).to_have_attribute("data-state", "live")
    expect(texts(page)).to_have_text(["behind it"])


def test_the_reason_of_a_wait_stays_while_the_page_retries(page: Page, server: Running) -> None:
    """Otherwise the line would come and go with each try, and move the list."""
    open_room(page, server)
    page.route("**/messages?**", lambda route: route.fulfill(status=502))
    cut(page)
    expect(page.locator("#countdown")).to_contain_text("retrying in")
    page.locator("#again").click()
    expect(page.locator("#reason")).to_contain_text("502")
    height = page.locator("header").bounding_box()
    page.unroute("**/messages?**")
    page.route("**/messages?**", lambda route: None)
    page.locator("#again").click()
    expect(page.locator("#countdown")).to_have_text("Connecting…")
    expect(page.locator("#reason")).to_contain_text("502")
    assert page.locator("header").bounding_box() == height


@in_one_browser
def test_messages_with_a_type_of_their_own_are_found_in_the_history(page: Page, server: Running) -> None:
    post(
        server,
        {"text": "plain"},
        {"type": "score", "data": {"home": 1}},
    )
    open_room(page, server)
    expect(page.locator("li.message")).to_have_count(2)
    expect(page.locator("li.message .type")).to_have_text("score")
    expect(page.locator("li.message .json")).to_have_text('{"home": 1}')
    post(server, {"type": "score", "text": "live"})
    expect(texts(page)).to_have_text(["plain", "live"])


def test_the_original_examples_browser_code_works_from_another_origin(
    page: Page, server: Running, elsewhere: str
) -> None:
    post(server, {"text": EXAMPLE, "user": "ada"})
    page.goto(elsewhere)
    heard = page.evaluate(
        """url => new Promise((resolve) => {
          const source = new EventSource(url);
          source.addEventListener("message", (event) => {
            const { text, user, timestamp } = JSON.parse(event.data);
            source.close();
            resolve({ text, user, timestamp });
          });
        })""",
        f"http://localhost:{server.port}/messages?room=developers",
    )
    assert heard["text"] == EXAMPLE
    assert heard["user"] == "ada"
    assert heard["timestamp"].endswith("Z")


def test_another_origin_posts_json_and_reads_the_answer(
    page: Page, context: BrowserContext, server: Running, elsewhere: str
) -> None:
    page.goto(elsewhere)
    stored: dict[str, Any] = page.evaluate(
        """async ([url, text]) => {
          const response = await fetch(url, {
            method: "POST",
            headers: { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() },
            body: JSON.stringify({ text, room: "developers" }),
          });
          return { status: response.status, at: response.headers.get("Location"), ...await response.json() };
        }""",
        [f"{server.url}/messages", EXAMPLE],
    )
    assert stored["status"] == 201
    assert stored["at"].endswith(stored["id"])
    follower = context.new_page()
    open_room(follower, server)
    expect(texts(follower)).to_have_text([EXAMPLE])


def test_a_message_is_there_at_once_and_confirmed_by_its_id(page: Page, server: Running) -> None:
    open_room(page, server)
    held: list[Route] = []
    page.route("**/messages", lambda route: held.append(route))
    page.locator("#text").fill("on its way")
    page.keyboard.press("Enter")
    expect(page.locator("li.pending .text")).to_have_text("on its way")
    expect(page.locator("li.pending .status")).to_have_text("Sending…")
    eventually(page, lambda: held, "the request")
    held[0].continue_()
    expect(page.locator("li.pending")).to_have_count(0)
    expect(page.locator("li.message[data-id] .text")).to_have_text(["on its way"])


@in_one_browser
def test_an_equal_message_of_somebody_else_at_the_same_moment_is_shown_too(page: Page, server: Running) -> None:
    open_room(page, server)
    held: list[Route] = []
    page.route("**/messages", lambda route: held.append(route))
    page.locator("#text").fill("me too")
    page.keyboard.press("Enter")
    eventually(page, lambda: held, "the request")
    post(server, "me too")
    expect(texts(page)).to_have_text(["me too"])
    held[0].continue_()
    expect(page.locator("li.message[data-id] .text")).to_have_text(["me too", "me too"])


def test_a_draft_and_an_unsent_message_survive_a_reload(page: Page, server: Running) -> None:
    open_room(page, server)
    page.route("**/messages", lambda route: route.abort())
    page.locator("#text").fill("being sent")
    page.keyboard.press("Enter")
    page.locator("#text").fill("only typed")
    expect(page.locator("li.pending .text")).to_have_text("being sent")
    page.reload()
    expect(page.locator("li.pending .text")).to_have_text("being sent")
    expect(page.locator("#text")).to_have_value("only typed")
    page.unroute("**/messages")
    page.reload()
    expect(page.locator("li.message[data-id] .text")).to_have_text(["being sent"])
    expect(page.locator("li.pending")).to_have_count(0)
    assert [message["text"] for message in history(server)["messages"]] == ["being sent"]


@pytest.mark.only_in("chromium", because="Firefox's automation does not tell a request's body")
def test_a_reload_between_storing_and_its_answer_stores_once(page: Page, server: Running) -> None:
    open_room(page, server)

    def lose_the_answer(route: Route) -> None:
        route.fetch()
        with suppress(Error):  # the page may have begun to leave by now
            route.abort()

    page.route("**/messages", lose_the_answer)
    page.locator("#text").fill("stored")
    page.keyboard.press("Enter")
    eventually(page, lambda: history(server)["messages"], "the message to be stored")
    page.unroute("**/messages")
    page.reload()
    expect(page.locator("li.pending")).to_have_count(0)
    expect(texts(page)).to_have_text(["stored"])
    post(server, "afterwards")
    expect(texts(page)).to_have_text(["stored", "afterwards"])


@in_one_browser
def test_a_message_that_is_being_retried_can_be_taken_back(page: Page, server: Running) -> None:
    open_room(page, server)
    page.route("**/messages", lambda route: route.abort())
    page.locator("#text").fill("never mind")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Stop trying").click()
    expect(page.locator("li.pending")).to_have_count(0)
    expect(page.locator("#text")).to_have_value("never mind")
    page.unroute("**/messages")
    page.locator("#text").fill("something else")
    page.keyboard.press("Enter")
    expect(texts(page)).to_have_text(["something else"])


def refuse_the_example(page: Page, server: Running) -> None:
    """Sends the example, which is refused, while another text is being typed."""
    open_room(page, server)
    held: list[Route] = []
    page.route("**/messages", lambda route: held.append(route))
    page.locator("#text").fill(EXAMPLE)
    page.locator("#user").fill("u" * 129)
    page.locator("#user").press("Enter")
    page.locator("#text").fill("the next thought")
    eventually(page, lambda: held, "the request")
    held[0].continue_()
    expect(page.locator("li.pending .status")).to_contain_text("Not sent:")


@in_one_browser
def test_a_refused_message_waits_while_another_text_is_being_typed(page: Page, server: Running) -> None:
    refuse_the_example(page, server)
    expect(page.locator("#text")).to_have_value("the next thought")
    page.get_by_role("button", name="Discard").click()
    expect(page.locator("li.pending")).to_have_count(0)


def test_offline_overloaded_and_live_are_shown_as_such(page: Page, context: BrowserContext, serve: Serve) -> None:
    server = serve("--max-followers", "1")
    open_room(page, server)
    context.set_offline(True)
    expect(state(page)).to_have_attribute("data-state", "offline")
    expect(page.locator("#countdown")).to_have_text(re.compile(r"retrying in \d+ s"))
    context.set_offline(False)
    expect(state(page)).to_have_attribute("data-state", "live")
    other = (
        context.browser.new_context() if context.browser else context
    )  # a page that shares no stream with the first
    late = other.new_page()
    late.goto(f"{server.url}/?room=developers")
    expect(state(late)).to_have_attribute("data-state", "overloaded")
    expect(state(late)).to_have_text("The server is busy or restarting")
    page.close()
    wait_for(lambda: server.metric("roomcast_followers") == 0, "the place to be free")
    late.locator("#again").click()
    expect(state(late)).to_have_attribute("data-state", "live")
    other.close()


@in_one_browser
def test_the_delay_and_the_rate_are_reported(page: Page, server: Running) -> None:
    open_room(page, server)
    post(server, "one", "two")
    expect(page.locator("#traffic")).to_have_attribute("aria-label", re.compile(r"messages a second, \d+ ms"))
    expect(page.locator("#traffic")).to_have_text(re.compile(r"^\d+/s · \d+ ms$"))


@in_one_browser
def test_new_messages_are_announced_and_a_burst_is_counted(page: Page, server: Running) -> None:
    open_room(page, server)
    post(server, {"text": "hello", "user": "ada"})
    expect(page.locator("#announced")).to_have_text("ada: hello")
    post(server, *(str(n) for n in range(12)))
    expect(page.locator("#announced")).to_have_text("12 new messages in developers")


@pytest.mark.only_in("chromium", because="Firefox's automation does not read the clipboard")
def test_the_code_in_the_dialog_works_for_the_open_room(
    page: Page, context: BrowserContext, server: Running, tmp_path: Path
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    room = "it's a café"
    post(server, {"room": room, "text": "there"})
    page.goto(f"{server.url}/?{urlencode({'room': room})}")
    expect(texts(page)).to_have_text(["there"])
    page.get_by_role("button", name="Use this room").click()
    expect(page.locator("#use")).to_be_visible()
    copied = []
    for copy in page.locator("#snippets .copy").all():
        copy.click()
        expect(copy).to_have_text("Copied")
        copied.append(page.evaluate("navigator.clipboard.readText()"))
    address, follow, event_source, follow_js, follow_py, publish, publish_py, publish_js = copied
    assert server.get(address.removeprefix(server.url), headers={"Accept": "application/json"}).json()["messages"]
    page.keyboard.press("Escape")
    expect(page.locator("#use")).to_be_hidden()
    # `exec` puts the program in the shell's place, so that ending one ends the other.
    assert json.loads(said(["sh", "-c", f"exec {publish}"], tmp_path, "}"))["room"] == room
    subprocess.run([sys.executable, "-c", publish_py], check=True, timeout=PATIENCE)
    page.evaluate(f"(async () => {{ {imported(publish_js)} }})()")
    post(server, {"room": room, "text": "the last"})
    expected = ["there", EXAMPLE, EXAMPLE, EXAMPLE, "the last"]
    heard = said(["sh", "-c", f"exec {follow}"], tmp_path, '"the last"')
    assert re.findall('"text":"(.+?)"', heard) == expected
    heard = said([sys.executable, "-u", "-c", follow_py], tmp_path, "the last\n")
    assert [line.partition(" anonymous ")[2] for line in heard.splitlines()] == expected
    for script, end in (
        (f"(() => {{ {event_source} }})()", "the last"),
        (f"(async () => {{ {imported(follow_js)} }})()", "anonymous the last"),
    ):
        with page.expect_console_message(lambda line, end=end: line.text == end):  # type: ignore[misc]
            page.evaluate(script)


def imported(module: str) -> str:
    """The same script with dynamic imports, for places where `import` statements are not allowed."""
    return module.replace("import {", "const {").replace(' from "', ' = await import("').replace('js";', 'js");')


def said(command: list[str], folder: Path, last: str) -> str:
    """The output of a program up to and including `last`; the program need not end."""
    printed = folder / "printed.txt"
    with printed.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: last in printed.read_text(), f"{last} of {command}")
    finally:
        process.kill()
        process.wait(PATIENCE)
    return printed.read_text()


def test_messages_sent_without_a_network_are_stored_in_order_when_it_is_back(
    page: Page, context: BrowserContext, server: Running
) -> None:
    open_room(page, server)
    context.set_offline(True)
    written = [f"line {n}" for n in range(5)]
    for line in written:
        page.locator("#text").fill(line)
        page.keyboard.press("Enter")
    expect(page.locator("li.pending")).to_have_count(5)
    context.set_offline(False)
    expect(page.locator("li.message[data-id] .text")).to_have_text(written)
    assert [message["text"] for message in history(server)["messages"]] == written


@in_one_browser
def test_a_refused_message_survives_a_reload(page: Page, server: Running) -> None:
    refuse_the_example(page, server)
    page.unroute("**/messages")
    page.reload()
    expect(page.locator("li.pending .text")).to_have_text(EXAMPLE)
    expect(page.locator("li.pending .status")).to_contain_text("Not sent:")
    expect(page.locator("#text")).to_have_value("the next thought")


@in_one_browser
def test_a_gap_is_reported_in_whole_sentences(page: Page, server: Running) -> None:
    open_room(page, server)
    lines = page.evaluate(
        """async () => {
          const lines = [];
          for (const language of ["english", "german"]) {
            const { strings } = await import(`./page/${language}.js`);
            for (const [lost_at_most, rooms, reason] of [
              [7, ["a"], "trimmed"],
              [1, ["a", "b"], "trimmed"],
              [1000, ["a", "b", "c"], "trimmed"],
              [null, ["a"], "epoch"],
            ]) lines.push(strings.gap({ after: null, resumes_at: null, lost_at_most, rooms, reason }));
          }
          return lines;
        }"""
    )
    assert lines == [
        "Up to 7 messages were lost here: no longer kept.",
        "Up to 1 message was lost here and in another room: no longer kept.",
        "Up to 1,000 messages were lost here and in 2 other rooms: no longer kept.",
        "Messages may have been lost here: the server’s log was replaced or restored.",
        "Bis zu 7 Nachrichten gingen hier verloren: nicht mehr gespeichert.",
        "Bis zu 1 Nachricht ging hier und in einem anderen Raum verloren: nicht mehr gespeichert.",
        "Bis zu 1,000 Nachrichten gingen hier und in 2 anderen Räumen verloren: nicht mehr gespeichert.",
        "Möglicherweise gingen hier Nachrichten verloren: "
        "das Log des Servers wurde ersetzt oder wiederhergestellt.",
    ]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.only_in("chromium", because="only the server differs")] if n else [])
        for n, name in enumerate(PROGRAMS)
    ],
)
def test_the_page_works_below_a_path_of_another_program(
    page: Page, context: BrowserContext, tmp_path: Path, name: str
) -> None:
    program = run(tmp_path, name)
    try:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{program.url}/live/?room=orders")
        expect(state(page)).to_have_attribute("data-state", "live")
        page.locator("#text").fill("below")
        page.keyboard.press("Enter")
        expect(page.locator("li.message[data-id] .text")).to_have_text(["below"])
        expect(page.locator("#rooms .newest")).to_have_text("anonymous: below")
        page.get_by_role("button", name="Use this room").click()
        expect(page.locator("#snippets code").first).to_have_text(f"{program.url}/live/messages?room=orders")
        assert [url for url in asked if not url.startswith(f"{program.url}/live")] == []
    finally:
        page.goto("about:blank")
        program.kill()
