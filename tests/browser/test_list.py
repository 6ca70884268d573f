"""The list of messages keeps the reader's place, and keeps the document small."""

from __future__ import annotations

import json
import re

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.steps import eventually, in_one_browser, open_room, post, texts
from tests.conftest import Serve
from tests.running import Running, wait_for


def top(page: Page, text: str) -> float:
    box = texts(page).get_by_text(text, exact=True).bounding_box()
    assert box
    return box["y"]


def scroll(page: Page, pixels: int) -> None:
    page.mouse.move(600, 400)
    page.mouse.wheel(0, pixels)


def test_the_history_is_read_by_scrolling_up_to_its_beginning(page: Page, server: Running) -> None:
    post(server, *(str(n) for n in range(450)))
    open_room(page, server)
    expect(texts(page).last).to_have_text("449")

    def at_the_beginning() -> bool:
        scroll(page, -3000)
        page.wait_for_timeout(20)
        return texts(page).first.text_content() == "0" and page.locator("li.start").is_visible()

    wait_for(at_the_beginning, "the beginning")
    shown = [int(text) for text in texts(page).all_text_contents()]
    assert shown == list(range(len(shown)))
    assert len(shown) < 60


def test_the_row_being_read_stays_in_place_while_older_and_newer_messages_come(
    page: Page, server: Running
) -> None:
    post(server, *(f"n{n}\n" * (n % 5 + 1) for n in range(300)))
    open_room(page, server)
    expect(texts(page).last).to_contain_text("n299")
    scroll(page, -2000)
    expect(page.locator("#messages")).to_have_js_property("ariaBusy", "false")
    page.wait_for_timeout(100)
    row = page.locator("li.message").nth(12)
    id = row.get_attribute("data-id")
    before = page.locator(f'[data-id="{id}"]').bounding_box()
    post(server, *(f"new {n}" for n in range(20)))
    expect(page.locator("#newer")).to_have_text("20 new")
    assert page.locator(f'[data-id="{id}"]').bounding_box() == before


def test_a_reader_further_up_is_told_of_new_messages_and_goes_to_them(page: Page, server: Running) -> None:
    post(server, *(str(n) for n in range(100)))
    open_room(page, server)
    expect(texts(page).last).to_be_in_viewport()
    scroll(page, -1500)
    expect(texts(page).last).not_to_have_text("99")
    post(server, "new", "newer")
    page.get_by_role("button", name="2 new").click()
    expect(texts(page).last).to_have_text("newer")
    expect(texts(page).last).to_be_in_viewport()
    expect(page.locator("#newer")).to_be_hidden()


def test_the_end_stays_in_view_when_the_window_or_a_row_changes_its_size(page: Page, server: Running) -> None:
    post(server, *(f"{n} " * 60 for n in range(60)), {"text": "last", "data": list(range(100))})
    open_room(page, server)
    expect(texts(page).last).to_be_in_viewport()
    page.set_viewport_size({"width": 420, "height": 500})
    expect(texts(page).last).to_be_in_viewport()
    page.locator(".json").press("Enter")
    expect(page.locator("#lines .tree")).to_be_in_viewport()
    post(server, "after it")
    expect(texts(page).last).to_be_in_viewport()


def test_the_end_stays_in_view_when_the_line_above_grows_and_shrinks(page: Page, server: Running) -> None:
    post(server, *(str(n) for n in range(60)))
    open_room(page, server)
    expect(texts(page).last).to_be_in_viewport()
    for height in ("160px", ""):
        page.evaluate(
            """(height) => new Promise((drawn) => {
              document.querySelector("header").style.minHeight = height;
              requestAnimationFrame(() => requestAnimationFrame(drawn));
            })""",
            height,
        )
    post(server, *(f"new {n}" for n in range(20)))
    expect(texts(page).last).to_have_text("new 19")
    expect(texts(page).last).to_be_in_viewport()


@pytest.mark.only_in("chromium", because="it takes long, and nothing in it depends on the browser")
def test_ten_thousand_messages_and_a_storm_leave_the_document_small(page: Page, server: Running) -> None:
    for start in range(0, 9_000, 1000):
        post(server, *(f"{n} {'x' * (n % 80)}" for n in range(start, start + 1000)))
    open_room(page, server)
    for start in range(9_000, 10_000, 100):
        post(server, *(str(n) for n in range(start, start + 100)))
    expect(texts(page).last).to_have_text("9999")
    assert page.locator("#lines > li").count() < 60
    assert page.evaluate("document.querySelectorAll('*').length") < 600
    assert int(page.locator("#lines > li").last.get_attribute("aria-setsize") or 0) > 1000


def test_a_storm_is_one_render_a_frame(page: Page, server: Running) -> None:
    page.add_init_script(
        """globalThis.renders = 0;
        addEventListener("DOMContentLoaded", () => {
          const count = () => { renders += 1; };
          new MutationObserver(count).observe(document.querySelector("#lines"), { childList: true });
        });"""
    )
    open_room(page, server)
    frames = page.evaluate_handle(
        """() => {
          const count = { frames: 0 };
          const tick = () => { count.frames += 1; requestAnimationFrame(tick); };
          requestAnimationFrame(tick);
          return count;
        }"""
    )
    for start in range(0, 500, 10):
        post(server, *(str(n) for n in range(start, start + 10)))
    expect(texts(page).last).to_have_text("499")
    # A render removes and inserts rows in one task, so the observer is called once.
    assert page.evaluate("([count]) => renders <= count.frames + 1", [frames])


def test_each_day_has_a_line_and_each_time_says_all_of_it(page: Page, server: Running) -> None:
    def message(seq: int, timestamp: str) -> dict[str, object]:
        return {"id": f"abcd-{seq}", "room": "developers", "user": "ada", "text": str(seq), "timestamp": timestamp}

    days = [message(1, "2026-01-01T12:00:00.000Z"), message(2, "2026-01-01T13:00:00.000Z"),
            message(3, "2026-01-02T12:00:00.000Z")]  # fmt: skip
    body = json.dumps({"messages": days, "position": "abcd-3", "gap": None})
    page.route("**/messages?*", lambda route: route.fulfill(content_type="application/json", body=body))
    page.goto(f"{server.url}/?room=developers")
    expect(page.locator("li.day")).to_have_text(["Thursday, January 1, 2026", "Friday, January 2, 2026"])
    first = page.locator("li.message time").first
    expect(first).to_have_attribute("datetime", "2026-01-01T12:00:00.000Z")
    expect(first).to_have_attribute("title", re.compile("Thursday, January 1, 2026 at .*:00:00"))


def test_data_is_one_line_that_opens_into_a_tree_with_the_digits_that_were_sent(
    page: Page, server: Running
) -> None:
    """The rest of the data is unchanged, too. JavaScript has no such numbers, merges equal keys, and sorts keys
    that look like numbers."""
    sent = (
        '{"2": 12345678901234567890, "1": [1.0, -0, 1E2, 0.1234567890123456789], "text, }": {"data": {}}, "2": 1}'
    )
    leaves = ['"2": 12345678901234567890', "0: 1.0", "1: -0", "2: 1E2", "3: 0.1234567890123456789", '"data": {}']

    def send(room: str = "developers") -> None:
        body = f'{{"room": "{room}", "type": "a.type", "data": {sent}}}'
        answer = httpx.post(f"{server.url}/messages", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 201

    send()
    send("kitchen")
    open_room(page, server)
    lines = page.locator("li.message .json")
    expect(lines).to_have_text([sent])
    expect(lines.locator(".number").first).to_have_text("12345678901234567890")
    lines.click()
    expect(page.locator(".tree summary").first).to_be_visible()
    for folded in page.locator(".tree summary").all()[1:]:
        folded.click()
    expect(page.locator(".tree .leaf")).to_have_text([*leaves, '"2": 1'])
    send()
    expect(lines).to_have_text([sent] * 2)
    page.locator("#rooms a[data-room=kitchen]").click()
    expect(lines).to_have_text([sent])
    post(server, {"room": "kitchen", "data": list(range(250))})
    expect(lines).to_have_count(2)
    lines.last.click()
    expect(page.locator(".tree .leaf")).to_have_count(100)
    page.get_by_role("button", name="Show the other 150").click()
    page.get_by_role("button", name="Show the other 50").click()
    expect(page.locator(".tree .leaf").last).to_have_text("249: 249")


def test_code_and_the_colours_of_a_build_are_shown_and_nothing_else_of_markdown(
    page: Page, server: Running
) -> None:
    post(
        server,
        "before\n```python\nx = 1  # " + "long " * 100 + "\n```\nafter **it**",
        "```\nnot closed",
        {
            "type": "build.log",
            "text": "\x1b[1;31mred\x1b[0m plain \x1b[38;5;208morange\x1b[39m \x1b[2Kgone \x1b[4munder",
        },
    )
    open_room(page, server)
    code = page.locator("pre.code")
    expect(code).to_have_count(2)
    expect(code.first).to_contain_text("x = 1")
    assert code.first.evaluate("pre => pre.scrollWidth > pre.clientWidth")
    expect(texts(page).first).to_contain_text("after **it**")
    expect(code.last).to_have_text("not closed")
    build = texts(page).last
    expect(build).to_have_text("red plain orange gone under")
    expect(build.locator(".bold.colour")).to_have_text("red")
    expect(build.locator(".under")).to_have_text("under")
    red, orange, plain = (
        build.locator(which).first.evaluate("span => getComputedStyle(span).color")
        for which in (".bold", ".colour:not(.bold)", "xpath=.")
    )
    assert len({red, orange, plain}) == 3
    expect(page.locator("#rooms .newest")).to_have_text("anonymous: red plain orange gone under")


def test_in_log_density_a_message_is_one_line_with_milliseconds(page: Page, server: Running) -> None:
    post(server, *({"text": f"n{n}", "type": "t"} for n in range(3)))
    open_room(page, server)
    heights = []
    for name in ("Chat", "Compact", "Log"):
        page.get_by_role("button", name=name, exact=True).click()
        row = page.locator("li.message").first
        expect(row).to_be_visible()
        page.wait_for_function("document.querySelectorAll('li.message').length === 3")
        heights.append((row.bounding_box() or {"height": 0})["height"])
    assert heights == sorted(heights, reverse=True)
    expect(page.locator("li.message time").first).to_have_text(re.compile(r"^\d\d:\d\d:\d\d\.\d{3}$"))
    page.reload()
    expect(page.get_by_role("button", name="Log", exact=True)).to_have_attribute("aria-pressed", "true")


@pytest.mark.only_in("chromium", because="it takes long, and nothing in it depends on the browser")
def test_a_room_keeps_no_more_text_than_a_browser_can_hold(page: Page, serve: Serve) -> None:
    """20,000 rows of 64 KB would be 1.3 GB."""
    server = serve("--max-bytes", "100000000")
    post(server, {"text": "first", "room": "kitchen"})
    open_room(page, server)
    for n in range(20):
        post(
            server,
            *(
                {"text": f"{n} " + "x" * 60_000, "room": room}
                for room in ("developers", "kitchen")
                for _ in range(8)
            ),
        )
        post(server, *({"text": f"{n} " + "x" * 60_000} for _ in range(14)))
    post(server, "last")
    expect(texts(page).last).to_have_text("last")
    size = "document.querySelector('#lines > li:last-child').ariaSetSize"
    # 441 messages have 26 MB, of which the page keeps 16.
    eventually(page, lambda: 200 < int(page.evaluate(size)) < 300, "the oldest to go")
    page.locator("#rooms a[data-room=kitchen]").click()
    expect(texts(page).last).to_contain_text("19 x")
    page.locator("#messages").focus()

    def at_the_beginning() -> bool:
        page.keyboard.press("Home")
        page.wait_for_timeout(20)
        return texts(page).first.text_content() == "first"

    wait_for(at_the_beginning, "the dropped messages to be read again")


@in_one_browser
def test_a_long_text_is_folded_until_the_reader_opens_it(page: Page, server: Running) -> None:
    long = "word " * 2_000
    post(server, long)
    open_room(page, server)
    expect(texts(page)).to_contain_text("word word")
    assert len(texts(page).text_content() or "") < 2_000
    page.get_by_role("button", name="Show all 10,000 characters").click()
    expect(texts(page)).to_have_text(long, use_inner_text=False)
    expect(texts(page)).to_be_focused()


@in_one_browser
def test_consecutive_messages_of_one_user_have_the_name_once(page: Page, server: Running) -> None:
    post(server, *({"user": "ada", "text": str(n)} for n in range(3)), {"user": "grace", "text": "mine"})
    post(server, {"user": "grace", "type": "build", "text": "an event"}, {"user": "grace", "text": "after it"})
    open_room(page, server)
    expect(texts(page)).to_have_count(6)
    pictures = page.locator("li.message .avatar").evaluate_all("all => all.map((one) => one.checkVisibility())")
    assert pictures == [True, False, False, True, True, True]
    # A screen reader reads the name with each message.
    expect(page.get_by_role("listitem").filter(has_text="ada")).to_have_count(3)
    held: list[Route] = []
    page.route("**/messages", lambda route: held.append(route))
    page.locator("#user").fill("grace")
    page.locator("#text").fill("and mine")
    page.locator("#text").press("Enter")
    pending = page.locator("li.pending")
    expect(pending.locator(".avatar")).to_be_hidden()
    post(server, {"user": "linus", "text": "in between"})
    expect(pending.locator(".avatar")).to_be_visible()


def test_reading_older_messages_up_to_the_first_moves_nothing_by_itself(page: Page, server: Running) -> None:
    post(server, *(f"n{n}" for n in range(450)))
    open_room(page, server)
    place = """() => {
      const inSight = (row) => row.getBoundingClientRect().top > 100;
      const row = [...document.querySelectorAll("#lines > .message")].find(inSight);
      return [row.dataset.id, row.getBoundingClientRect().top];
    }"""
    for _ in range(14):
        scroll(page, -700)
        page.wait_for_timeout(30)
    page.wait_for_timeout(300)  # the pages that are under way arrive
    id, before = page.evaluate(place)
    for n in range(3):
        post(server, f"new {n}")
        expect(page.locator("#newer")).to_have_text(f"{n + 1} new")
        now = page.locator(f'[data-id="{id}"]').bounding_box()
        assert now
        assert abs(now["y"] - before) < 1


@pytest.mark.only_in("chromium", because="it takes long, and nothing in it depends on the browser")
def test_a_reader_further_up_keeps_the_place_however_much_comes(page: Page, serve: Serve) -> None:
    server = serve("--max-messages", "60000", "--max-bytes", "50000000")
    post(server, *(f"before {n}" for n in range(90)))
    open_room(page, server)
    scroll(page, -1500)
    row = texts(page).get_by_text("before 40", exact=True)
    expect(row).to_be_in_viewport()
    before = row.bounding_box()
    for start in range(0, 22_000, 1000):
        post(server, *(str(n) for n in range(start, start + 1000)))
    expect(page.locator("#newer")).to_have_text("22,000 new")
    assert row.bounding_box() == before
    page.locator("#newer").click()
    expect(texts(page).last).to_have_text("21999")
    post(server, "the rows", "that nobody reads go")
    expect(texts(page).last).to_have_text("that nobody reads go")
    assert int(page.locator("#lines > li").last.get_attribute("aria-setsize") or 0) <= 21_000


@in_one_browser
def test_at_midnight_today_becomes_yesterday(page: Page, server: Running) -> None:
    page.clock.install()
    post(server, "before midnight")
    open_room(page, server)
    expect(page.locator("li.day")).to_have_text("Today")
    page.clock.fast_forward(24 * 60 * 60 * 1000)
    expect(page.locator("li.day")).to_have_text("Yesterday")


def test_days_are_those_of_the_readers_time_zone(browser: Browser, server: Running) -> None:
    context = browser.new_context(timezone_id="Pacific/Kiritimati")  # 14 hours before Greenwich
    page = context.new_page()
    messages = [
        {"id": f"abcd-{seq}", "room": "developers", "user": "ada", "text": "x", "timestamp": f"2026-01-01T{time}Z"}
        for seq, time in enumerate(["09:59:59.999", "10:00:00.000"], 1)
    ]
    body = json.dumps({"messages": messages, "position": "abcd-2", "gap": None})
    page.route("**/messages?*", lambda route: route.fulfill(content_type="application/json", body=body))
    page.goto(f"{server.url}/?room=developers")
    expect(page.locator("li.day")).to_have_text(["Thursday, January 1, 2026", "Friday, January 2, 2026"])
    context.close()
