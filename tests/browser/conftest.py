"""A real Chromium, a real Firefox, and another origin. Playwright's synchronous side is ended with each module:
while it runs, no test of another module could run a loop of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread, Timer
from typing import NamedTuple, NoReturn

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Error,
    Page,
    Playwright,
    expect,
    sync_playwright,
)

from tests.browser import firefox
from tests.running import PATIENCE

# A drained stream comes back after up to ten seconds.
expect.set_options(timeout=30_000)

LONGEST = 180.0
"""Seconds that a test may take, far more than it does. Playwright bounds its waits, but for scripts in a page."""

_CONNECTION_FAILED = (
    "CORS request did not succeed",
    "can’t establish a connection to the server",
    "was interrupted while the page was loading",
)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Started(NamedTuple):
    """A running browser."""

    browser: Browser
    end: Callable[[], None]
    """Ends it, whatever its pages do."""
    without_cookies: Callable[[Path], BrowserContext]
    """Starts another of its kind, over this folder, in which the user has blocked all cookies."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what a test's mark says that a browser cannot do."""
    left_out = [item for item in items if _is_left_out(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_left_out(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("only_in")
    callspec = getattr(item, "callspec", None)
    return bool(mark and callspec and callspec.params.get("started", *mark.args) not in mark.args)


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def started(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """The tests that use it, or what comes of it, run in each browser."""
    with sync_playwright() as playwright:
        start = _start_chromium if request.param == "chromium" else _start_firefox
        running = start(playwright, tmp_path_factory.mktemp("browser"))
        yield running
        running.browser.close()


@pytest.fixture(scope="module")
def browser(started: Started) -> Browser:
    return started.browser


def _start_chromium(playwright: Playwright, folder: Path) -> Started:
    path = _chromium(playwright)
    # Its sandbox needs what a container, where tests usually run as root, does not have.
    browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
    told = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    [pid] = [process["id"] for process in told["processInfo"] if process["type"] == "browser"]

    def without_cookies(profile: Path) -> BrowserContext:
        (profile / "Default").mkdir()
        blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
        (profile / "Default/Preferences").write_text(json.dumps(blocked))
        return playwright.chromium.launch_persistent_context(profile, executable_path=path, args=["--no-sandbox"])

    return Started(browser, lambda: os.kill(int(pid), signal.SIGKILL), without_cookies)


def _start_firefox(playwright: Playwright, folder: Path) -> Started:
    path = firefox.executable(folder)
    if path is None:
        _missing(f"no Firefox: looked for {firefox.PROGRAM}")
    browser = playwright.firefox.launch(executable_path=path, channel="moz-firefox")
    pid = int((folder / "pid").read_text())

    def without_cookies(profile: Path) -> BrowserContext:
        blocked: dict[str, str | float | bool] = {"network.cookie.cookieBehavior": 2}
        return playwright.firefox.launch(
            executable_path=firefox.executable(profile), channel="moz-firefox", firefox_user_prefs=blocked
        ).new_context()

    return Started(browser, lambda: os.killpg(pid, signal.SIGKILL), without_cookies)


@pytest.fixture(autouse=True)
def _ended(request: pytest.FixtureRequest) -> Iterator[None]:
    """A script that never ends fails its test: with the browser gone, every call returns at once."""
    if "browser" not in request.fixturenames:
        yield
        return
    end = Timer(LONGEST, request.getfixturevalue("started").end)
    end.daemon = True
    end.start()
    yield
    end.cancel()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab. Whatever a test does in it, no script fails and the Content-Security-Policy has nothing to stop."""
    wrong: list[str] = []

    def listen(line: ConsoleMessage) -> None:
        if "Content Security Policy" in line.text or "Trusted" in line.text:
            wrong.append(line.text)

    def fail(error: Error) -> None:
        # Firefox reports a connection that fails so, which is what many tests are about.
        if not any(text in str(error) for text in _CONNECTION_FAILED):
            wrong.append(str(error))

    page = context.new_page()
    page.on("pageerror", fail)
    page.on("console", listen)
    yield page
    assert wrong == []


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """Another origin, with an empty page that may run any script."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _EmptyPage) as other:
        thread = Thread(target=other.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{other.server_port}"
        other.shutdown()
        thread.join(PATIENCE)


class _EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, format: str, *args: object) -> None:
        pass


def _chromium(playwright: Playwright) -> str:
    own = playwright.chromium.executable_path
    found = next(filter(None, map(shutil.which, _NAMES)), own if Path(own).exists() else None)
    if found is None:
        _missing(f"no Chromium: looked for {', '.join(_NAMES)} and Playwright's own (playwright install chromium)")
    return found


def _missing(reason: str) -> NoReturn:
    # Where it must not be missing, a skipped test would look like a passed one.
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
