"""The page with hostile text, strict policies, screen readers, small screens and other languages."""

from __future__ import annotations

import gzip
import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.steps import again, away, back, in_one_browser, open_room, post, state, texts
from tests.conftest import Serve
from tests.running import Running

AXE = Path(__file__).parents[1] / "interop/node_modules/axe-core/axe.min.js"
PAGE = Path(__file__).parents[2] / "src/roomcast/page"

ANIMATIONS_ENDED = """async () => {
  // Half faded in, a text has less contrast. The dot of the state never stops breathing.
  const finite = ({ effect }) => effect.getComputedTiming().endTime !== Infinity;
  await Promise.allSettled(document.getAnimations().filter(finite).map(({ finished }) => finished));
}"""

HOSTILE = {
    "markup": '<img src=x onerror="window.hacked = 1"><script>window.hacked = 1</script>',
    "right to left": "\u202e\u2067gnp.exe\u202d \u2066 after",
    "an unbroken line": "x" * 60_000,
    "line feeds": "\n" * 30_000,
    "a flood of marks": "Z" + "\u0301\u0489\u0e4a" * 5_000,
    "nothing to see": "\u200b\u2060\u00ad\u200d" * 5_000,
    "emoji that never end": "👩\u200d" * 3_000,
    "a separator": "one\u2028two\u2029three\u0085four\x00\x1b[31m",
}
NAMES = {
    "markup": "<b onclick=alert(1)>",
    "right to left": "\u202emoc.live",
    "unbroken": "W" * 128,
    "marks": "Z" + "\u0301" * 127,
    "invisible": "\u200b" * 128,
}


def axe(page: Page) -> list[str]:
    """The findings of axe-core in the page in its present state."""
    if not AXE.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no axe-core: run tests/setup.sh")
    if page.evaluate("!globalThis.axe"):
        page.evaluate(AXE.read_text())
    page.evaluate(ANIMATIONS_ENDED)
    rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    found = page.evaluate("(rules) => axe.run(document, { runOnly: rules })", rules)
    return [f"{one['id']}: {node['html']} {node['failureSummary']}" for one in found["violations"]
            for node in one["nodes"]]  # fmt: skip


def axe_in_views(page: Page, narrow: int = 390, schemes: tuple[str, str] = ("dark", "light")) -> list[str]:
    """The findings in a narrow window in the first colour scheme, and in a wide one in the second."""
    found = []
    for width, scheme in zip((narrow, 1280), schemes, strict=True):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        found += [f"{width} {scheme} {finding}" for finding in axe(page)]
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    return found


@pytest.mark.parametrize("width", [390, 1280])
def test_hostile_text_does_no_harm_and_breaks_no_layout(page: Page, server: Running, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 780})
    page.add_init_script("addEventListener('securitypolicyviolation', () => { window.hacked = 2 })")
    post(
        server,
        *({"text": text, "user": name} for text, name in zip(HOSTILE.values(), NAMES.values(), strict=False)),
    )
    post(server, *({"text": text, "data": {text[:50]: [text[:50]]}} for text in HOSTILE.values()))
    post(server, *({"type": name[:64], "data": name} for name in NAMES.values()))
    post(server, *({"text": name, "user": name, "room": name} for name in NAMES.values()))
    post(server, {"text": "after all of it"})
    open_room(page, server)
    expect(texts(page).last).to_have_text("after all of it")
    for _ in range(12):
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.locator("#messages").evaluate("list => list.scrollWidth - list.clientWidth") == 0
        assert page.locator("#messages :is(img, script, b)").count() == 0
        page.mouse.move(width - 40, 400)
        page.mouse.wheel(0, -500)
        page.wait_for_timeout(30)
    assert page.evaluate("window.hacked") is None


def test_hostile_text_is_shown_as_text(page: Page, server: Running) -> None:
    post(server, *({"text": text, "room": f"room {n}"} for n, text in enumerate(HOSTILE.values())))
    open_room(page, server)
    for n, text in enumerate(HOSTILE.values()):
        page.locator(f'#rooms [data-room="room {n}"]').click()
        expect(page.locator("#room-title")).to_have_text(f"room {n}")
        expect(texts(page)).to_have_count(1)
        shown = texts(page).text_content() or ""
        assert shown
        assert text.startswith(shown.removesuffix("…"))


@in_one_browser
def test_an_invisible_name_is_replaced_by_a_text_that_says_so(page: Page, server: Running) -> None:
    post(server, {"text": "x", "user": NAMES["invisible"]})
    open_room(page, server)
    expect(page.locator("li.message .user")).to_have_text("(nothing visible)")


def test_only_links_that_lead_where_they_say_are_links(page: Page, server: Running) -> None:
    post(
        server,
        "see https://example.org/a?b=c#d, (https://example.org/wiki_(x)) and http://localhost:1/.",
        "javascript:alert(1) data:text/html,x vbscript:x JaVaScRiPt://%0aalert(1) ftp://x.example",
        "https://bank.example@evil.example/ https://evil.example/\u202etxt.exe",
        "https://ex\u200bample.org",
    )
    open_room(page, server)
    expect(texts(page)).to_have_count(4)
    links = page.locator("#messages a").evaluate_all("links => links.map((one) => one.href)")
    assert links == [
        "https://example.org/a?b=c#d",
        "https://example.org/wiki_(x)",
        "http://localhost:1/",
        "https://evil.example/",
        "https://ex/",
    ]
    expect(page.locator("#messages a").first).to_have_attribute("rel", "noopener noreferrer nofollow")


def test_a_link_with_letters_of_other_alphabets_tells_its_real_address(page: Page, server: Running) -> None:
    post(server, "https://\u0430\u0440\u0440\u04cf\u0435.com/ https://apple.com/")  # the first is Cyrillic
    open_room(page, server)
    cyrillic, latin = page.locator("#messages a").all()
    expect(cyrillic).to_have_attribute("title", "https://xn--80ak6aa92e.com/")
    assert latin.get_attribute("title") is None


def test_a_small_window_has_a_list_to_read_and_nothing_beside_it(page: Page, server: Running) -> None:
    """Reflow, WCAG 1.4.10: 320 CSS pixels, 256 of them high, are a window of 1280 x 1024 at 400 %."""
    post(server, *(f"message {n}" for n in range(20)))
    for what, width, height in (("400 %", 320, 256), ("200 %", 640, 400), ("a phone on its side", 844, 390)):
        page.set_viewport_size({"width": width, "height": height})
        open_room(page, server)
        expect(texts(page).last).to_be_in_viewport()
        box = page.locator("#messages").bounding_box()
        assert box
        assert box["height"] > 120, what
        # Firefox's scroll bar takes a part of the width.
        assert page.evaluate("document.documentElement.scrollWidth") <= width, what
        page.locator("#text").fill(f"a line at {what}")
        page.get_by_role("button", name="Send", exact=True).click()
        expect(texts(page).last).to_have_text(f"a line at {what}")


CUT = """() => [...document.querySelectorAll(":is(header, #finder, .foot) :is(button, input)")]
  .filter((one) => one.checkVisibility())
  .filter((one) => {
    const [box, frame] = [one, one.closest("header, #finder, #send")].map((it) => it.getBoundingClientRect());
    if (box.left < frame.left || box.right > frame.right + 1) return true;
    return getComputedStyle(one).textOverflow !== "ellipsis" && one.scrollWidth > one.clientWidth + 1;
  })
  .map((one) => one.id)"""


def test_no_control_is_cut_off_at_any_width_with_a_message_open_or_not(page: Page, server: Running) -> None:
    post(server, {"text": "x", "type": "t"})
    open_room(page, server)
    page.locator("#find").fill("type:t")
    expect(page.locator("#found")).to_have_text("1 of 1")
    cut = {}
    for what in ("closed", "open"):
        for width in range(320, 1601, 80):
            page.set_viewport_size({"width": width, "height": 800})
            cut[what, width] = page.evaluate(CUT)
        page.locator("li.message time").click()
        expect(page.locator("#inspector")).to_be_visible()
    assert {view: names for view, names in cut.items() if names} == {}


def test_every_control_is_large_enough_to_be_clicked(page: Page, server: Running) -> None:
    """WCAG 2.5.8: 24 by 24 CSS pixels, but for links within a text."""
    post(server, {"text": "long " * 1000, "data": {"a": 1}}, "https://example.org/")
    open_room(page, server)
    page.route("**/messages", lambda route: route.abort())
    page.locator("#text").fill("pending")
    page.keyboard.press("Enter")
    expect(page.locator("li.pending .status button")).to_have_count(2)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 800})
        expect(page.locator("li.pending .status button").first).to_be_in_viewport()
        small = page.locator("button, summary, input, textarea, nav a").evaluate_all(
            """all => all.map((one) => [one.outerHTML, one.getBoundingClientRect()])
              .filter(([, { width, height }]) => width > 0 && (width < 24 || height < 24)).map(([html]) => html)"""
        )
        assert small == [], width


@pytest.mark.only_in("chromium", because="Firefox's automation has no colour schemes")
def test_the_open_room_and_the_state_are_visible_in_the_systems_colours(browser: Browser, server: Running) -> None:
    context = browser.new_context(forced_colors="active")
    page = context.new_page()
    open_room(page, server)
    outline = "one => getComputedStyle(one).outlineStyle"
    assert page.locator("#rooms a[aria-current]").evaluate(outline) == "solid"
    # The state live is a full circle, the others are rings. Forced colours show only borders, no backgrounds.
    dot = page.locator("#state .dot")
    assert dot.evaluate("dot => parseFloat(getComputedStyle(dot).borderWidth) * 2 >= dot.clientWidth") is True
    context.close()


def test_the_policy_allows_no_inline_code_and_no_other_origin(page: Page, server: Running) -> None:
    answer = page.goto(f"{server.url}/")
    assert answer is not None
    policy = answer.all_headers()["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "trusted-types 'none'" in policy


def test_the_page_loads_nothing_from_elsewhere_and_every_file_has_an_etag(page: Page, server: Running) -> None:
    answers = []
    page.on("response", lambda answer: answers.append(answer))
    open_room(page, server)
    assert {re.sub(r"(//[^/]+).*", r"\1", one.url) for one in answers} == {server.url.replace("http:", "http:")}
    for answer in answers:
        if "/page/" in answer.url or answer.url.endswith(".js"):
            path = answer.url.removeprefix(server.url)
            headers = {"If-None-Match": server.get(path).headers["etag"]}
            assert server.get(path, headers=headers).status_code == 304


@pytest.mark.parametrize(("other", "most"), [("german.js", 40_000), ("english.js", 41_500)])
def test_all_scripts_of_a_language_are_small(server: Running, other: str, most: int) -> None:
    """All scripts, those of every dialog included. German readers also load German texts for the document."""
    names = sorted(file.name for file in PAGE.glob("*.js") if file.name != other)
    paths = ["/roomcast.js" if name == "roomcast.js" else f"/page/{name}" for name in names]
    assert len(gzip.compress(b"".join(server.get(path).content for path in paths))) < most


@pytest.mark.only_in("chromium", because="Firefox's automation has no colour schemes")
def test_axe_finds_nothing(page: Page, server: Running) -> None:
    post(server, *({"text": f"https://example.org/{n}", "user": f"user {n}", "data": {"n": n}} for n in range(30)))
    post(server, {"type": "t", "data": [1]}, {"text": "long " * 2000}, {"room": "kitchen", "text": "x"})
    open_room(page, server)
    expect(texts(page).last).to_be_in_viewport()
    post(server, {"room": "kitchen", "text": "unread"})
    expect(page.locator(".unread").last).to_have_text("1")
    assert axe_in_views(page) + axe_in_views(page, schemes=("light", "dark")) == []
    page.route("**/messages", lambda route: route.abort())
    page.locator("#text").fill("pending")
    page.keyboard.press("Enter")
    expect(page.locator("li.pending .status")).to_contain_text("Not sent yet")
    page.route("**/messages?*", lambda route: route.fulfill(status=502))
    server.terminate()
    expect(page.locator("#again")).to_be_visible()
    assert axe_in_views(page) + axe_in_views(page, schemes=("light", "dark")) == []
    page.get_by_role("button", name="Use this room").click()
    assert axe_in_views(page) == []


@pytest.mark.only_in("chromium", because="Firefox's automation has no colour schemes")
def test_axe_finds_nothing_in_the_dialogs(page: Page, server: Running) -> None:
    found = {}
    data = {"n": 1, "s": "x", "b": None, "list": [1, {}]}
    post(server, *({"room": f"team/7/{name}", "text": "x", "type": "t", "data": data} for name in "abc"))
    post(
        server, {"text": "\x1b[31mred\x1b[0m \x1b[42mground\x1b[0m \x1b[2mdim\x1b[38;5;208m orange", "data": data}
    )
    post(server, {"text": "```\ncode\n```", "type": "build.log"})
    open_room(page, server)
    page.locator(".json").click()
    page.locator("#developer-open").click()
    page.locator("#data").fill("{")
    found["tree, colours, data"] = axe_in_views(page)
    for name in ("compact", "log"):
        page.locator(f"#density-{name}").click()
        found[name] = axe_in_views(page)
    page.locator("#find").fill("type:nothing")
    expect(page.locator("#none")).to_be_visible()
    found["nothing fits"] = axe(page)
    page.locator("#find").fill("")
    page.locator("#pause").click()
    page.locator("li.message time").first.click()
    expect(page.locator("#inspector")).to_be_visible()
    found["inspector"] = axe_in_views(page)
    page.keyboard.press("Escape")
    for name, dialog in (("panel", "panel"), ("help", "help"), ("followers", "follower-list")):
        page.locator(f"#{name}-open").click()
        expect(page.locator(f"#{dialog}")).to_be_visible()
        expect(page.locator(f"#{dialog} :is(dd, td)").first).to_be_visible()
        found[name] = axe_in_views(page)
        page.keyboard.press("Escape")
    page.goto(f"{server.url}/?prefix=team%2F7%2F")
    expect(page.locator("li.message .from").first).to_be_visible()
    page.keyboard.press("Control+k")
    page.keyboard.type("tea")
    found["group, found"] = axe(page)
    page.goto(f"{server.url}/?room=%24no")
    expect(page.locator("#refused-why")).to_be_visible()
    found["refused"] = axe(page)
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_everything_can_be_done_with_the_keyboard(page: Page, server: Running) -> None:
    post(server, "here", {"room": "kitchen", "text": "there"})
    open_room(page, server)
    expect(page.locator("#rooms a")).to_have_count(2)
    expect(page.locator("#text")).to_be_focused()
    expect(page.locator("#followers-open")).to_be_visible()
    page.locator("#theme").focus()
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.dataset.room"))
    assert [one for one in reached if one] == [
        "room",
        "room-count",
        "sort",
        "developers",
        "followers-open",
        "panel-open",
        "use-open",
        "help-open",
    ]
    page.locator("#rooms a").last.focus()
    page.keyboard.press("Enter")
    expect(texts(page)).to_have_text(["there"])


def test_a_button_that_disappears_when_it_is_pressed_moves_the_focus_to_the_list(
    page: Page, server: Running, serve: Serve
) -> None:
    post(server, *(str(n) for n in range(100)))
    open_room(page, server)
    expect(texts(page).last).to_have_text("99")
    page.locator("#messages").focus()
    page.keyboard.press("Home")
    expect(texts(page).first).to_have_text("0")
    post(server, "new")
    page.get_by_role("button", name="1 new").press("Enter")
    expect(texts(page).last).to_have_text("new")
    expect(page.locator("#messages")).to_be_focused()
    away(page)
    server.kill()
    page.locator("#again").focus()
    again(serve, server)
    page.unroute("**/messages**")
    page.keyboard.press("Enter")
    expect(state(page)).to_have_attribute("data-state", "live")
    expect(page.locator("#messages")).to_be_focused()


@pytest.mark.only_in("chromium", because="Firefox's automation has no colour schemes")
def test_axe_finds_nothing_whatever_the_connection_does(browser: Browser, serve: Serve) -> None:
    server = serve("--max-messages", "60")
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="de-DE")
    page = context.new_page()
    found = {}
    open_room(page, server)
    found["empty"] = axe_in_views(page)
    post(server, "one", "two")
    expect(texts(page)).to_have_count(2)
    away(page)
    server.kill()
    server = again(serve, server, "--max-messages", "60")
    for _ in range(3):
        post(server, *["long " * 40] * 50)
    expect(page.locator("#again")).to_be_visible()
    found["reconnecting"] = axe_in_views(page)
    back(page)
    expect(state(page)).to_have_attribute("data-state", "live")
    page.locator("#messages").press("Home")
    expect(page.locator("li.gap")).to_be_in_viewport()
    post(server, "news")
    expect(page.locator("#newer")).to_be_visible()
    found["gap"] = axe_in_views(page)
    page.locator("#user").fill("u" * 129)
    page.locator("#text").fill("refused")
    page.locator("#text").press("Enter")
    expect(page.locator("#send-error")).not_to_be_empty()
    found["refused"] = axe_in_views(page)
    context.set_offline(True)
    expect(state(page)).to_have_attribute("data-state", "offline")
    found["offline"] = axe_in_views(page)
    context.set_offline(False)
    page.goto(f"{server.url}/?room=%24no")
    expect(state(page)).to_have_attribute("data-state", "stopped")
    found["stopped"] = axe_in_views(page)
    context.close()
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.only_in("chromium", because="Firefox's automation has no colour schemes")
def test_the_theme_is_the_systems_until_one_is_chosen(page: Page, server: Running) -> None:
    page.emulate_media(color_scheme="dark")
    open_room(page, server)
    paper = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(paper)
    page.emulate_media(color_scheme="light")
    light = page.evaluate(paper)
    assert dark != light
    page.get_by_role("button", name="Theme").click()
    page.get_by_role("button", name="Theme: light").click()
    expect(page.get_by_role("button", name="Theme: dark")).to_be_visible()
    assert page.evaluate(paper) == dark
    page.reload()
    assert page.evaluate(paper) == dark


@pytest.mark.only_in("chromium", because="Firefox's automation sets no preference for motion")
def test_a_reader_who_wants_less_motion_gets_none(page: Page, server: Running) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.route("**/messages?*", lambda route: None)
    page.goto(f"{server.url}/?room=developers")
    expect(page.locator("#state")).to_have_attribute("data-state", "connecting")
    moving = "document.getAnimations().length"
    assert page.evaluate(moving) == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moving) > 0


def test_a_german_browser_is_answered_in_german(browser: Browser, serve: Serve) -> None:
    server = serve("--max-messages", "5")
    context = browser.new_context(locale="de-DE")
    page = context.new_page()
    open_room(page, server)
    expect(page.locator("html")).to_have_attribute("lang", "de-DE")
    expect(page.locator("#empty-title")).to_have_text("In developers gibt es noch keine Nachrichten")
    expect(page.get_by_role("button", name="Senden", exact=True)).to_be_visible()
    post(server, "moin")
    expect(page.locator("li.day")).to_have_text("Heute")
    left = page.evaluate("document.body.innerText").split("\n")
    english = {"Send", "Rooms", "Message", "Open", "Live now", "Today", "Use this room"}
    assert english.isdisjoint(left)
    page.route("**/messages", lambda route: route.fulfill(status=502))
    page.locator("#text").fill("nochmal")
    page.get_by_role("button", name="Senden", exact=True).click()
    expect(page.locator("li.pending .status")).to_contain_text("der Server antwortete mit 502")
    context.set_offline(True)
    expect(page.locator("#state")).to_have_text("Offline")
    expect(page.locator("#reason")).to_have_text("Die Verbindung wurde unterbrochen")
    context.close()


def test_every_text_is_used_and_there_in_both_languages() -> None:
    """No text is unused, and none is missing in a language."""
    english, german, index = ((PAGE / name).read_text() for name in ("english.js", "german.js", "index.html"))
    german, fixed = german.split("export const fixed")
    names = _names(english)
    assert names == _names(german)
    used = "".join(file.read_text() for file in PAGE.glob("*.js") if file.stem not in ("english", "german"))
    by_state = {"connecting", "live", "offline", "overloaded", "reconnecting", "stopped"}
    assert {name for name in names - by_state if f"strings.{name}" not in used} == set()
    assert set(re.findall(r'data-(?:text|label|hint)="(\w+)"', index)) == _names(fixed)


def _names(script: str) -> set[str]:
    return set(re.findall(r"^  (\w+):", script, re.MULTILINE))


def test_the_reasons_that_the_module_gives_are_translated() -> None:
    module, german = ((PAGE / name).read_text() for name in ("roomcast.js", "german.js"))
    own = re.findall(r'(?:Refused\(|FOREIGN = |CUT = |\|\| )["`](the .+?|something .+?)(?: \$.*)?["`]', module)
    assert len(own) == 4
    assert [one for one in own if f"/^{one}" not in german] == []
