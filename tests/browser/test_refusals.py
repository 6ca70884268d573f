"""Facilities that a browser may refuse: the module and the page work without them."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Started
from tests.browser.steps import open_room, post, texts
from tests.browser.test_module import FOLLOW, Tab
from tests.conftest import Serve
from tests.running import Running

_REFUSED = "new DOMException('Access is denied', 'SecurityError')"
_LOCKS = "(globalThis.LockManager ?? class {}).prototype"  # about:blank has no storage

FACILITIES = {
    "locks": f"for (const name of ['request', 'query']) {_LOCKS}[name] = () => Promise.reject({_REFUSED});",
    "the list of locks": f"{_LOCKS}.query = () => Promise.reject({_REFUSED});",
    "channels": f"BroadcastChannel = class {{ constructor() {{ throw {_REFUSED}; }} }};",
    "no locks": "Object.defineProperty(navigator, 'locks', { value: undefined });",
    "no channels": "delete globalThis.BroadcastChannel;",
    "storage": f"""for (const name of ["localStorage", "sessionStorage"]) {{
      Object.defineProperty(globalThis, name, {{ get() {{ throw {_REFUSED}; }} }});
    }}""",
    "a full storage": "Storage.prototype.setItem = () => { throw new DOMException('', 'QuotaExceededError'); };",
    "addresses": f"history.pushState = history.replaceState = () => {{ throw {_REFUSED}; }};",
}
FACILITIES["all of it"] = "".join(FACILITIES[name] for name in ("locks", "channels", "storage", "addresses"))
ONE = pytest.mark.only_in("chromium", because="a script refuses it, which is the same in every browser")
ALL = pytest.mark.parametrize(
    "facility",
    [
        pytest.param(script, id=name, marks=() if name == "all of it" else ONE)
        for name, script in FACILITIES.items()
    ],
)


@ALL
def test_the_module_follows_and_publishes_whatever_the_browser_refuses(
    page: Page, elsewhere: str, server: Running, facility: str
) -> None:
    page.add_init_script(facility)
    page.goto(elsewhere)
    server.publish("before")
    tab = Tab(page, server)
    tab.until_live()
    page.evaluate("roomcast.publish({ room: 'developers', text: 'from here' })")
    tab.until_received("before", "from here")
    page.evaluate("following.rooms = ['developers', 'kitchen']")
    server.publish("in another room", "kitchen")
    tab.until_received("before", "from here", "in another room")
    page.evaluate("following.close(), following.retry()")


@ALL
def test_the_page_works_whatever_the_browser_refuses(page: Page, server: Running, facility: str) -> None:
    page.add_init_script(facility)
    post(server, {"room": "kitchen", "text": "there"})
    open_room(page, server)
    page.locator("#text").fill("from here")
    page.keyboard.press("Enter")
    expect(texts(page)).to_have_text(["from here"])
    page.locator("#rooms a[data-room=kitchen]").click()
    expect(texts(page)).to_have_text(["there"])
    page.locator("#theme").click()
    page.locator("#text").fill("and here")
    page.keyboard.press("Enter")
    expect(texts(page)).to_have_text(["there", "and here"])


def test_the_module_works_in_a_frame_that_may_run_scripts_and_nothing_else(
    page: Page, elsewhere: str, serve: Serve
) -> None:
    """The frame's origin is opaque: locks, channels and storage exist, but refuse every use."""
    server = serve("--open")  # only an open server serves pages without an origin
    page.goto(elsewhere)
    page.evaluate(
        """(address) => new Promise((loaded) => {
          const frame = document.createElement("iframe");
          frame.sandbox = "allow-scripts";
          frame.src = address;
          frame.onload = loaded;
          document.body.append(frame);
        })""",
        elsewhere,
    )
    frame = page.frames[-1]
    assert frame.evaluate("navigator.locks.query().then(() => 'granted', ({ name }) => name)") == "SecurityError"
    frame.evaluate(FOLLOW, [f"{server.url}/roomcast.js", {"rooms": ["developers"]}])
    frame.wait_for_function("following.state.name === 'live'")
    frame.evaluate("roomcast.publish({ room: 'developers', text: 'from the frame' })")
    frame.wait_for_function("seen.messages.includes('from the frame')")


def test_the_module_and_the_page_work_where_the_user_has_blocked_cookies(
    started: Started, elsewhere: str, server: Running, tmp_path: Path
) -> None:
    profile = tmp_path / "profile"
    profile.mkdir()
    context = started.without_cookies(profile)
    try:
        page = context.new_page()
        page.goto(elsewhere)
        storage = "() => { try { return localStorage && 'granted'; } catch ({ name }) { return name; } }"
        assert page.evaluate(storage) == "SecurityError"
        tab = Tab(page, server)
        tab.until_live()
        page.evaluate("roomcast.publish({ room: 'developers', text: 'from the module' })")
        tab.until_received("from the module")
        open_room(page, server)
        page.locator("#text").fill("from the page")
        page.keyboard.press("Enter")
        expect(texts(page)).to_have_text(["from the module", "from the page"])
    finally:
        context.close()
        if context.browser:
            context.browser.close()
