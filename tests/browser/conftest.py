"""A real Chromium, a real Firefox, a server and another origin, each started once for the tests of this folder.

Playwright ends with the folder: while its synchronous side runs, no other test could run an event loop."""

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
from urllib.parse import quote

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
from tests.browser.rights import Backend
from tests.conftest import Serve
from tests.running import PATIENCE, Running, start_roomcast, wait_for

# The client of a drained stream comes back after up to ten seconds.
expect.set_options(timeout=30_000)

LONGEST = 180.0
"""Seconds after which a test is ended. Playwright bounds its own waits, but not scripts in a page."""

STARTING = 120_000
"""Milliseconds that a browser may take to start on a busy machine. If it fails, all tests of a module fail."""

MOST_ROOMS = 20
"""A server with more rooms than this is replaced, since deleting them takes longer."""

_CONNECTION_FAILED = (
    "CORS request did not succeed",
    "can’t establish a connection to the server",
    "was interrupted while the page was loading",
)
_FLAGS = [
    "--no-sandbox",  # Chromium's sandbox does not run as root in a container, where tests usually run
    "--disable-gpu",  # emulating one takes a quarter of the processor time of a test
]
# Firefox starts a process ahead, which takes a quarter of a test's time. Its isolation of sites stays on, as users
# have it: two windows of one page then share a process.
_PREFERENCES: dict[str, str | float | bool] = {"dom.ipc.processPrelaunch.enabled": False}
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Started(NamedTuple):
    """A running browser."""

    browser: Browser
    end: Callable[[], None]
    """Ends the browser, whatever its pages do."""
    without_cookies: Callable[[Path], BrowserContext]
    """Starts another browser of this kind with its profile in a folder. Its user has blocked all cookies."""


class Browsers:
    """The browsers of this test process. Each starts when the first test needs it."""

    def __init__(self, playwright: Playwright, folders: pytest.TempPathFactory) -> None:
        self._playwright = playwright
        self._folders = folders
        self._started: dict[str, Started] = {}

    def get(self, name: str) -> Started:
        """The browser with this name; a new one if a test ended the last."""
        started = self._started.get(name)
        if started is None or not started.browser.is_connected():
            start = _start_chromium if name == "chromium" else _start_firefox
            started = self._started[name] = start(self._playwright, self._folders.mktemp(name))
        return started

    def close(self) -> None:
        for started in self._started.values():
            started.browser.close()


class SharedServer:
    """A server with default options, for tests that do not need one of their own."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self._running: Running | None = None

    def empty(self) -> Running:
        """The server, without rooms and followers; a new one if a test ended the last."""
        if self._running is None or self._running.process.poll() is not None or not _emptied(self._running):
            self.close()
            self._running = start_roomcast(self._folders.mktemp("server"))
        return self._running

    def close(self) -> None:
        if self._running:
            self._running.kill()


def _emptied(server: Running) -> bool:
    wait_for(lambda: server.metric("roomcast_followers") == 0, "the end of the last test's streams")
    names = [row["room"] for row in server.get("/rooms").json()["rooms"]]
    if len(names) > MOST_ROOMS:
        return False
    # False for a room named `..`, which a client cannot delete: it resolves the name in the URL.
    return all(server.send("DELETE", f"/rooms/{quote(name, safe='')}").is_success for name in names)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects tests that are marked for another browser only."""
    left_out = [item for item in items if _is_left_out(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _is_left_out(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("only_in")
    callspec = getattr(item, "callspec", None)
    return bool(mark and callspec and callspec.params.get("started", *mark.args) not in mark.args)


@pytest.fixture(scope="package")
def browsers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browsers]:
    with sync_playwright() as playwright:
        browsers = Browsers(playwright, tmp_path_factory)
        yield browsers
        browsers.close()


@pytest.fixture(scope="module", params=["chromium", "firefox"])
def started(request: pytest.FixtureRequest, browsers: Browsers) -> Started:
    """A running browser. Tests that use it, directly or through another fixture, run in each browser."""
    return browsers.get(request.param)


@pytest.fixture(scope="package")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    shared = SharedServer(tmp_path_factory)
    yield shared
    shared.close()


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Running:
    """A server with default options. A test that also takes `serve`, to start it again, gets one of its own."""
    if "serve" in request.fixturenames:
        serve: Serve = request.getfixturevalue("serve")
        return serve()
    shared: SharedServer = request.getfixturevalue("shared_server")
    return shared.empty()


@pytest.fixture(scope="module")
def browser(started: Started) -> Browser:
    return started.browser


def _start_chromium(playwright: Playwright, folder: Path) -> Started:
    path = _chromium(playwright)
    browser = playwright.chromium.launch(executable_path=path, args=_FLAGS, timeout=STARTING)
    told = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
    [pid] = [process["id"] for process in told["processInfo"] if process["type"] == "browser"]

    def without_cookies(profile: Path) -> BrowserContext:
        (profile / "Default").mkdir()
        blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
        (profile / "Default/Preferences").write_text(json.dumps(blocked))
        return playwright.chromium.launch_persistent_context(profile, executable_path=path, args=_FLAGS)

    return Started(browser, lambda: os.kill(int(pid), signal.SIGKILL), without_cookies)


def _start_firefox(playwright: Playwright, folder: Path) -> Started:
    path = firefox.executable(folder)
    if path is None:
        _missing(f"no Firefox: looked for {firefox.PROGRAM}")
    browser = playwright.firefox.launch(
        executable_path=path, channel="moz-firefox", timeout=STARTING, firefox_user_prefs=_PREFERENCES
    )
    pid = int((folder / "pid").read_text())

    def without_cookies(profile: Path) -> BrowserContext:
        blocked = {**_PREFERENCES, "network.cookie.cookieBehavior": 2}
        return playwright.firefox.launch(
            executable_path=firefox.executable(profile), channel="moz-firefox", firefox_user_prefs=blocked
        ).new_context()

    return Started(browser, lambda: os.killpg(pid, signal.SIGKILL), without_cookies)


@pytest.fixture(scope="package")
def backend(tmp_path_factory: pytest.TempPathFactory, elsewhere: str) -> Iterator[Backend]:
    backend = Backend(tmp_path_factory.mktemp("backend"), elsewhere)
    yield backend
    backend.close()


@pytest.fixture
def keyed(backend: Backend) -> Running:
    """A server without rooms that needs a credential."""
    return backend.empty()


@pytest.fixture(autouse=True)
def _ended(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ends the browser of a test whose script never ends, so that every call returns and the test fails."""
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
    """A tab. Whatever a test does in it, no script fails and the Content-Security-Policy blocks nothing."""
    wrong: list[str] = []

    def listen(line: ConsoleMessage) -> None:
        if "Content Security Policy" in line.text or "Trusted" in line.text:
            wrong.append(line.text)

    def fail(error: Error) -> None:
        # Firefox reports each failed connection, and many tests cut connections.
        if not any(text in str(error) for text in _CONNECTION_FAILED):
            wrong.append(str(error))

    page = context.new_page()
    page.on("pageerror", fail)
    page.on("console", listen)
    yield page
    assert wrong == []


@pytest.fixture(scope="package")
def elsewhere() -> Iterator[str]:
    """Another origin, with an empty page that may run any script."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _EmptyPage) as other:
        thread = Thread(target=other.serve_forever, args=(0.02,), daemon=True)
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
    # In CI a skipped test would look like a passed one.
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
