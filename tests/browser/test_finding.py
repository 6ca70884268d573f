"""Finding, inspecting, copying and linking to one message among many."""

from __future__ import annotations

import json
import re
import shlex
import subprocess

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.steps import eventually, history, in_one_browser, open_room, post, texts
from tests.running import Running


def find(page: Page, typed: str) -> None:
    page.locator("#messages").focus()
    page.keyboard.press("/")
    page.locator("#find").fill(typed)


@in_one_browser
def test_a_search_by_type_user_and_text_covers_all_kept_messages(page: Page, server: Running) -> None:
    post(server, {"user": "shop", "type": "order.paid", "data": {"order": 4711}})
    post(server, *({"user": "ada", "text": f"n{n}", "type": f"kind.{n % 2}"} for n in range(999)))
    post(server, *({"user": "grace", "text": f"more {n}"} for n in range(500)))
    open_room(page, server)
    expect(texts(page).last).to_have_text("more 499")
    find(page, "type:order.* user:shop 4711")
    expect(page.locator("#found")).to_have_text("1 of 1,500")
    expect(page.locator("li.message")).to_have_count(1)
    expect(page.locator("#find")).to_have_class("on")
    post(server, {"user": "shop", "type": "order.paid", "data": {"order": 4712}}, {"user": "shop", "text": "4711"})
    expect(page.locator("#found")).to_have_text("1 of 1,502")
    find(page, "user:ada -type:kind.0")
    expect(page.locator("#found")).to_have_text("499 of 1,502")
    find(page, "nowhere")
    expect(page.locator("#none")).to_be_visible()
    page.locator("#find").press("Escape")
    expect(texts(page).last).to_have_text("4711")
    page.locator("li.message .type").last.click()
    expect(page.locator("#find")).to_have_value("type:order.paid")


@in_one_browser
def test_while_it_is_paused_nothing_moves_and_nothing_is_lost(page: Page, server: Running) -> None:
    post(server, "before")
    open_room(page, server)
    expect(texts(page)).to_have_text(["before"])
    page.get_by_role("button", name="Pause").click()
    post(server, *(str(n) for n in range(300)))
    expect(page.locator("#pause")).to_have_text("Continue (300 new)")
    expect(texts(page)).to_have_text(["before"])
    page.locator("#pause").click()
    expect(texts(page).last).to_have_text("299")
    expect(page.locator("#pause")).to_have_text("Pause")


@pytest.mark.only_in("chromium", because="Firefox's automation does not read the clipboard")
def test_a_message_is_inspected_and_copied(page: Page, context: BrowserContext, server: Running) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    sent = {"type": "order.paid", "text": "it's paid", "data": {"total": 12345678901234567890}, "user": "shop"}
    open_room(page, server)
    [id] = post(server, sent)
    [stored] = history(server)["messages"]
    page.locator("li.message .user").click()
    panel = page.locator("#inspector")
    expect(panel.locator("dd").first).to_have_text(id)
    expect(panel.locator("dl")).to_contain_text("order.paid")
    expect(panel.locator("dl")).to_contain_text(" ms")
    block, pretty = panel.locator("pre").all()
    body = json.dumps(stored, separators=(",", ":"), ensure_ascii=False)
    expect(block).to_have_text(f"id: {id}\nevent: order.paid\ndata: {body}\n", use_inner_text=False)
    copied: dict[str, str] = {}
    for name in ("Copy JSON", "Copy as curl", "Copy EventSource", "Copy link"):
        panel.get_by_role("button", name=name).click()
        eventually(page, lambda: page.evaluate("navigator.clipboard.readText()") not in copied.values(), name)
        copied[name] = page.evaluate("navigator.clipboard.readText()")
    assert json.loads(copied["Copy JSON"]) == stored
    assert pretty.text_content() == copied["Copy JSON"]
    done = subprocess.run(
        [*shlex.split(copied["Copy as curl"]), "-sS"], capture_output=True, check=True, timeout=30
    )
    again = json.loads(done.stdout)
    assert {**again, "id": 0, "timestamp": 0} == {**stored, "id": 0, "timestamp": 0}
    assert f"last_event_id={id}" in copied["Copy EventSource"]
    page.keyboard.press("Escape")
    expect(panel).to_be_hidden()
    # By the keyboard: the arrows go from message to message, Enter opens.
    page.locator("#messages").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(panel.locator("dd").first).to_have_text(id)
    page.keyboard.press("ArrowDown")
    expect(panel.locator("dd").first).to_have_text(again["id"])
    assert copied["Copy link"] == f"{server.url}/?room=developers&at={id}"


def test_a_link_to_a_message_waits_for_a_page_that_takes_long(page: Page, server: Running) -> None:
    [old] = post(server, "far back")
    post(server, *(str(n) for n in range(999)))
    held: list[Route] = []
    page.clock.install()
    page.route(re.compile("before="), lambda route: route.continue_() if held else held.append(route))
    open_room(page, server)
    expect(texts(page).last).to_have_text("998")
    page.locator("#messages").evaluate("(list) => (list.scrollTop = 0)")
    eventually(page, lambda: held, "the request for a page")
    page.evaluate(
        """(id) => {
          history.pushState(null, "", `?room=developers&at=${id}`);
          dispatchEvent(new PopStateEvent("popstate"));
        }""",
        old,
    )
    page.clock.run_for(6_000)
    held[0].continue_()
    expect(page.locator("li.picked .text")).to_have_text("far back")


def test_a_link_to_a_message_scrolls_there_however_far_back_it_is(page: Page, server: Running) -> None:
    [old] = post(server, "far back")
    for start in (0, 1000):
        post(server, *(str(n) for n in range(start, start + 1000)))
    page.goto(f"{server.url}/?room=developers&at={old}")
    picked = page.locator("li.picked")
    expect(picked.locator(".text")).to_have_text("far back")
    expect(picked).to_be_in_viewport()
    page.goto(f"{server.url}/?room=developers&at={old.split('-')[0]}-99999")
    expect(page.locator("#notice")).to_have_text(
        "This message is no longer kept, in another room, or over 100,000 messages back."
    )
    stored = history(server, limit="1", replay="all")["messages"][0]["timestamp"]
    page.get_by_role("button", name="Jump to a time").click()
    page.locator("#when").evaluate(
        """(field, time) => {
          const date = new Date(Date.parse(time) - new Date().getTimezoneOffset() * 60000 - 1000);
          field.value = date.toISOString().slice(0, 19);
        }""",
        stored,
    )
    page.get_by_role("button", name="Go", exact=True).click()
    expect(picked.locator(".text")).to_have_text("far back")
