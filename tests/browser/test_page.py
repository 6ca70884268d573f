"""The page in a real Chromium, against a real server."""

from __future__ import annotations

import re
import signal
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from tests.conftest import Serve
from tests.running import Running

EXAMPLE = "was geht ab in buxtehude?"
HOSTILE = '<img src=x onerror="window.hacked = 1"><script>window.hacked = 1</script>\u202eoverride'


def post(server: Running, *messages: str | dict[str, object]) -> list[str]:
    """Publishes to developers as one batch; the ids."""
    batch = [{"text": message} if isinstance(message, str) else message for message in messages]
    answer = server.post([{"room": "developers", **message} for message in batch])
    assert answer.status_code == 201, answer.text
    return [stored["id"] for stored in answer.json()]


def history(server: Running, **parameters: str) -> Any:
    return server.get(
        "/messages", params={"room": "developers", **parameters}, headers={"Accept": "application/json"}
    ).json()


def again(serve: Serve, server: Running, *options: str) -> Running:
    """The same server, started once more: the same port, the same log."""
    return serve("--port", str(server.port), *options)


def open_room(page: Page, server: Running, room: str = "developers") -> None:
    page.goto(f"{server.url}/?room={room}")
    expect(state(page)).to_have_attribute("data-state", "live")


def state(page: Page) -> Locator:
    return page.locator("#state")


def texts(page: Page) -> Locator:
    return page.locator("#messages li.message .text")


def away(page: Page) -> None:
    """From now on the page does not reach the server."""
    page.route("**/messages**", lambda route: route.abort())


def back(page: Page) -> None:
    page.unroute("**/messages**")
    page.locator("#again").click()


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


def test_the_state_is_told_from_connecting_to_live(page: Page, server: Running) -> None:
    page.add_init_script(
        """globalThis.states = [];
        const note = ([{ target }]) => states.push(target.dataset.state);
        new MutationObserver(note).observe(document, { subtree: true, attributeFilter: ["data-state"] });"""
    )
    post(server, "one", "two")
    open_room(page, server)
    assert [*dict.fromkeys(page.evaluate("states"))] == ["connecting", "catching-up", "live"]
    expect(state(page)).to_have_text("Live")


def test_a_block_that_comes_twice_is_shown_once(page: Page, server: Running) -> None:
    """A proxy, or a server that is not ours, may repeat what it sent."""
    line = '{"id": "%s", "user": "ada", "text": "%s", "timestamp": "2026-11-22T06:27:00.000Z"}'
    blocks = [
        f"id: {id}\ndata: {line % (id, id)}\n\n" for id in ("abcd-9", "abcd-10", "abcd-9", "abcd-10", "abcd-11")
    ]
    stream = "retry: 60000\n" + "".join(blocks)
    page.route("**/messages?**", lambda route: route.fulfill(content_type="text/event-stream", body=stream))
    page.goto(f"{server.url}/?room=developers")
    expect(texts(page)).to_have_text(["abcd-9", "abcd-10", "abcd-11"])


def test_a_newcomer_presses_enter_and_has_sent_the_example(page: Page, server: Running) -> None:
    open_room(page, server)
    page.keyboard.press("Enter")
    expect(texts(page)).to_have_text([EXAMPLE])
    expect(page.locator("li.message .user")).to_have_text("anonymous")
    expect(page.locator("#text")).to_have_value("")


def test_shift_and_enter_starts_a_line_and_the_name_is_remembered(page: Page, server: Running) -> None:
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


def test_the_empty_room_shows_the_curl_line_for_itself(page: Page, server: Running) -> None:
    open_room(page, server, "caf%C3%A9")
    body = f'{{"text": "{EXAMPLE}", "room": "café"}}'
    line = f"curl -X POST -H 'Content-Type: application/json' -d '{body}' {server.url}/messages"
    expect(page.locator("#curl")).to_have_text(line)
    post(server, {"text": "first", "room": "café"})
    expect(page.locator("#empty")).to_be_hidden()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_page_left_open_shows_each_message_once_across_a_restart(
    page: Page, server: Running, serve: Serve, how: signal.Signals
) -> None:
    open_room(page, server)
    post(server, "one", "two")
    expect(texts(page)).to_have_text(["one", "two"])
    server.process.send_signal(how)
    expect(state(page)).to_have_attribute("data-state", "reconnecting")
    expect(state(page)).to_contain_text("Reconnecting")
    server.process.wait()
    server = again(serve, server)
    post(server, "three", "four")
    expect(state(page)).to_have_attribute("data-state", "live")
    post(server, "five")
    expect(texts(page)).to_have_text(["one", "two", "three", "four", "five"])
    expect(page.locator("li.gap")).to_have_count(0)


def test_what_was_lost_while_away_is_told_where_it_was(page: Page, serve: Serve) -> None:
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
    expect(page.locator("li.gap")).to_have_text(
        f"Up to {lost} messages were lost here, they were no longer retained."
    )
    expect(texts(page)).to_have_text(["seen", *(message["text"] for message in told["messages"])])
    expect(page.locator("#lines > :nth-child(2)")).to_have_class("gap")


def test_a_log_under_a_new_epoch_is_told_in_words(page: Page, server: Running, serve: Serve) -> None:
    post(server, "seen")
    open_room(page, server)
    away(page)
    server.terminate()
    again(serve, server, "--new-epoch")
    back(page)
    expect(page.locator("li.gap")).to_contain_text("log was started anew or restored")


def test_what_is_sent_while_the_server_is_down_is_kept_and_stored_once(
    page: Page, server: Running, serve: Serve
) -> None:
    open_room(page, server)
    server.kill()
    page.locator("#text").fill("patient")
    page.keyboard.press("Enter")
    expect(page.locator("#send-error")).to_contain_text("Not sent yet")
    expect(page.locator("#text")).to_have_value("patient")
    again(serve, server)
    expect(page.locator("#text")).to_have_value("")
    expect(page.locator("#send-error")).to_be_hidden()
    expect(texts(page)).to_have_text(["patient"])


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
    page.keyboard.press("Enter")
    expect(page.locator("#text")).to_have_value("")
    assert len(keys) == 2
    assert len(set(keys)) == 1
    post(server, "afterwards")
    expect(texts(page)).to_have_text([EXAMPLE, "afterwards"])


def test_a_refusal_to_store_is_shown_in_the_servers_words_and_the_text_stays(page: Page, server: Running) -> None:
    open_room(page, server)
    page.locator("#user").fill("u" * 129)
    with page.expect_response("**/messages") as refused:
        page.locator("#user").press("Enter")
    detail = refused.value.json()["detail"]
    expect(page.locator("#send-error")).to_contain_text(detail)
    expect(page.locator("#text")).to_have_value(EXAMPLE)
    expect(page.locator("#user")).to_have_attribute("aria-invalid", "true")


def test_hostile_text_is_shown_as_text(page: Page, server: Running) -> None:
    page.add_init_script("addEventListener('securitypolicyviolation', () => { window.hacked = 2 })")
    post(
        server,
        {"text": HOSTILE, "user": HOSTILE, "data": {HOSTILE: HOSTILE}},
        {"text": "after it"},
    )
    open_room(page, server)
    expect(texts(page)).to_have_text([HOSTILE, "after it"])
    expect(page.locator(".user").first).to_have_text(HOSTILE)
    expect(page.locator("#messages :is(img, script)")).to_have_count(0)
    assert page.evaluate("window.hacked") is None


def test_the_policy_allows_nothing_inline_and_no_other_origin(page: Page, server: Running) -> None:
    answer = page.goto(f"{server.url}/")
    assert answer is not None
    policy = answer.all_headers()["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy


def test_an_unbroken_line_does_not_widen_the_page(page: Page, server: Running) -> None:
    page.set_viewport_size({"width": 390, "height": 780})
    post(server, {"text": "x" * 5_000, "user": "y" * 128})
    open_room(page, server)
    expect(texts(page)).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.locator("#messages").evaluate("list => list.scrollWidth - list.clientWidth") == 0


def test_an_invalid_room_shows_the_servers_words(page: Page, server: Running) -> None:
    detail = history(server, room="$no")["detail"]
    page.goto(f"{server.url}/?room=%24no")
    expect(state(page)).to_have_attribute("data-state", "stopped")
    expect(state(page)).to_contain_text(detail)


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
    expect(page.locator("#room")).to_have_value("developers")
    page.go_forward()
    expect(texts(page)).to_have_text(["there"])


def test_without_a_room_in_the_address_it_is_developers(page: Page, server: Running) -> None:
    post(server, "here")
    page.goto(f"{server.url}/")
    expect(texts(page)).to_have_text(["here"])
    expect(page.locator("#room")).to_have_value("developers")


def test_a_stream_refused_by_a_proxy_is_tried_again(page: Page, server: Running) -> None:
    """EventSource gives up for good on a 502; the page does not."""
    page.route("**/messages?**", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))
    post(server, "behind it")
    page.goto(f"{server.url}/?room=developers")
    expect(state(page)).to_contain_text("502")
    expect(page.locator("#countdown")).to_have_text(re.compile(r"again in \d s"))
    page.unroute("**/messages?**")
    expect(state(page)).to_have_attribute("data-state", "live")
    expect(texts(page)).to_have_text(["behind it"])


def test_messages_with_a_type_of_their_own_are_found_in_the_history(page: Page, server: Running) -> None:
    post(
        server,
        {"text": "plain"},
        {"type": "score", "data": {"home": 1}},
    )
    open_room(page, server)
    expect(page.locator("li.message")).to_have_count(2)
    expect(page.locator("li.message .type")).to_have_text("score")
    expect(page.locator("li.message details pre")).to_have_text('{\n  "home": 1\n}', use_inner_text=True)
    post(server, {"type": "score", "text": "live"})
    expect(texts(page)).to_have_text(["plain", "live"])


def test_a_type_that_is_new_while_the_page_is_live_is_found_by_a_look(page: Page, server: Running) -> None:
    page.clock.install()
    open_room(page, server)
    post(server, {"type": "score", "text": "1:0"}, {"text": "plain"})
    expect(texts(page)).to_have_text(["plain"])
    post(server, {"type": "score", "text": "2:0"})
    page.clock.run_for(10_000)
    expect(texts(page)).to_have_text(["1:0", "plain", "2:0"])


def test_a_type_named_in_the_address_is_heard_from_the_start(page: Page, server: Running) -> None:
    page.goto(f"{server.url}/?room=developers&type=score")
    expect(state(page)).to_have_attribute("data-state", "live")
    post(server, {"type": "score", "text": "1:0"})
    expect(texts(page)).to_have_text(["1:0"])


def test_only_the_newest_thousand_lines_are_kept(page: Page, server: Running) -> None:
    post(server, *(str(n) for n in range(900)))
    open_room(page, server)
    expect(texts(page)).to_have_count(900)
    post(server, *(str(n) for n in range(900, 1100)))
    expect(texts(page).last).to_have_text("1099")
    expect(texts(page)).to_have_count(1000)
    expect(texts(page).first).to_have_text("100")
    expect(page.locator("#older")).to_be_attached()


def test_who_reads_further_up_is_not_moved(page: Page, server: Running) -> None:
    post(server, *(str(n) for n in range(100)))
    open_room(page, server)
    expect(texts(page).last).to_be_in_viewport()
    texts(page).first.scroll_into_view_if_needed()
    post(server, "new", "newer")
    page.get_by_role("button", name="2 new").click()
    expect(texts(page).last).to_be_in_viewport()
    expect(page.locator("#newer")).to_be_hidden()


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
            headers: { "Content-Type": "application/json", "Idempotency-Key": "once" },
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
