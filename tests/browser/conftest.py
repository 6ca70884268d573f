"""A real Chromium, and another origin. Playwright's synchronous side, ended with each module: as long as it
runs, no test of another module could run a loop of its own."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread, Timer

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, expect, sync_playwright

from tests.running import PATIENCE

# A drained stream comes back after up to ten seconds.
expect.set_options(timeout=30_000)

LONGEST = 180.0
"""Seconds that a test may take, far more than it does. Playwright bounds its waits, but for scripts in a page."""

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = _chromium(playwright)
        # Its sandbox needs what a container, where tests usually run as root, does not have.
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def process(browser: Browser) -> int:
    """The browser's."""
    told = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    [pid] = [process["id"] for process in told["processInfo"] if process["type"] == "browser"]
    return int(pid)


@pytest.fixture(autouse=True)
def _ended(request: pytest.FixtureRequest) -> Iterator[None]:
    """A script that never ends fails its test: with the browser gone, every call returns at once."""
    if "browser" not in request.fixturenames:
        yield
        return
    end = Timer(LONGEST, os.kill, (request.getfixturevalue("process"), signal.SIGKILL))
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

    page = context.new_page()
    page.on("pageerror", lambda error: wrong.append(str(error)))
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
        reason = f"no Chromium: looked for {', '.join(_NAMES)} and Playwright's own (playwright install chromium)"
        # Where it must not be missing, a skipped test would look like a passed one.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return found
