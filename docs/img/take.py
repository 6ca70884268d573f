"""Takes the pictures of the page for the README and the docs: `make picture`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from tests.running import Running, start_roomcast

WIDE = {"width": 1080, "height": 640}
PHONE = {"width": 390, "height": 720}
ESCAPE = "\x1b["
ROOMS: dict[str, list[dict[str, object]]] = {
    "alerts": [{"user": "prometheus", "text": "disk of db-2 is 91 % full", "type": "alert"}],
    "kitchen": [{"user": "linus", "text": "the cake is in the fridge"}],
    "orders": [
        {
            "user": "shop",
            "type": f"order.{kind}",
            "data": {
                "order": 4700 + n,
                "total": 12345678901234567890 if n == 11 else 12.5 * n,
                "currency": "EUR",
                "customer": {"name": name, "tags": ["new", "vip"][: n % 3]},
            },
        }
        for n, (kind, name) in enumerate(
            zip(
                ["created", "paid", "shipped", "created", "paid", "cancelled"] * 3,
                ["Ada", "Grace"] * 9,
                strict=True,
            )
        )
    ],
    "builds": [
        {"user": "ci", "type": "build.log", "text": text.replace("^", ESCAPE)}
        for text in [
            "^1;36m==> building api^0m",
            "^32m✓^0m lint (1.2 s)",
            "^32m✓^0m types (8.9 s)",
            "^33mwarning^0m: unused variable `x` in src/main.rs:42",
            "^31m✗ tests^0m: 2 failed, 318 passed\n  ^2mtests/test_api.py::test_publish^0m"
            "\n  ^31mE  assert 500 == 201^0m",
            "^38;5;208mretrying^0m in 2 s",
            "^32m✓^0m tests: 320 passed",
            "^1;32mBUILD PASSED^0m in 41 s",
        ]
    ],
    "team/7/alerts": [{"user": "prometheus", "text": "db-2 is back", "type": "alert"}],
    "team/7/deploys": [{"user": "ci", "text": "deployed api 1.42.0"}],
    "developers": [
        {"user": "ada", "text": "was geht ab in buxtehude?"},
        {"user": "grace", "text": "The build is green again: https://ci.example/4711. Deploying at 14:00."},
        {
            "user": "build-bot",
            "type": "build.finished",
            "data": {"commit": "8d1f3c2", "passed": True, "seconds": 41},
        },
        {
            "user": "ada",
            "text": "```python\nfor event in client.follow('developers'):\n    print(event.text)\n```",
        },
        {"user": "linus", "text": "moin, läuft"},
    ],
}


FOLLOWERS = {
    "roomcast/0.1.0 (Python)": "room=developers&room=builds&replay=none",
    "deploy-bot/2.4": "prefix=team/7/&replay=none",
    "export/1.0": "prefix=&replay=all",
    "curl/8.14.1": "room=orders&replay=none",
    "dashboard/3.1": "room=developers&room=alerts&replay=none",
}
"""User agents, and what they follow. None of them reads: only one has much to read."""


class Camera:
    """Opens the page in a browser of its own for each picture."""

    def __init__(self, browser: Browser, server: Running, folder: Path) -> None:
        self._browser, self._server, self._folder = browser, server, folder

    def take(
        self, name: str, address: str, act: Callable[[Page], object] = lambda page: None, **how: object
    ) -> None:
        context = self._browser.new_context(**{"viewport": WIDE, **how})  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{self._server.url}/?{address}")
        page.wait_for_selector("#state:is([data-state=live], [data-state=stopped])")
        page.wait_for_timeout(600)  # what is beside the list
        act(page)
        page.wait_for_timeout(400)
        page.screenshot(path=str(self._folder / f"{name}.png"))
        context.close()


def take(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        options = ("--max-messages", "20000", "--max-bytes", "50000000")
        server = start_roomcast(Path(data), *options)
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            camera = Camera(browser, server, folder)
            camera.take("page-empty", "room=developers")
            for room, messages in ROOMS.items():
                server.post([{"room": room, **message} for message in messages])
            _rooms(camera)
            _states(camera, server)
            server.post([{"room": "developers", "user": "ada", "text": "was geht ab in buxtehude?"}])
            _many(camera, server)
        finally:
            browser.close()
            server.kill()


def _rooms(camera: Camera) -> None:
    camera.take("page", "room=developers", device_scale_factor=2)
    camera.take("page-compact", "room=orders", lambda page: page.locator("#density-compact").click())
    camera.take("page-log", "room=builds", lambda page: page.locator("#density-log").click())
    camera.take("page-dark", "room=orders", _inspect, color_scheme="dark", viewport={"width": 1280, "height": 720})
    camera.take("page-tree", "room=orders", _inspect, viewport={"width": 1280, "height": 720})
    camera.take("page-contrast", "room=developers", forced_colors="active")
    camera.take(
        "phone",
        "room=developers",
        viewport=PHONE,
        device_scale_factor=2,
        color_scheme="dark",
        locale="de-DE",
    )
    camera.take("phone-wide", "room=developers", viewport={"width": 844, "height": 390})


def _inspect(page: Page) -> None:
    page.locator("#density-compact").click()
    page.locator("li.message .json").nth(-2).click()
    page.locator("li.message .user").nth(-7).click()


def _states(camera: Camera, server: Running) -> None:
    camera.take("page-refused", "room=%24internal")
    camera.take("page-connection", "room=developers", lambda page: _connection(page, server))


def _connection(page: Page, server: Running) -> None:
    for n in range(4):
        server.publish(f"disk of db-2 is {92 + n} % full", "alerts", user="prometheus", type="alert")
        page.wait_for_timeout(700)
    page.locator("#panel-open").click()
    page.wait_for_timeout(700)


def _many(camera: Camera, server: Running) -> None:
    for start in range(0, 10_000, 1000):
        names = [f"team/{n % 40}/{kind}-{n}" for n in range(start, start + 1000) for kind in ["alerts"]]
        server.post([{"room": name, "user": "svc", "text": "hello"} for name in names])

    def find(page: Page) -> None:
        page.locator("#room-count", has_text="10,").wait_for()
        page.keyboard.press("Control+k")
        page.keyboard.type("t7 42")

    camera.take("page-rooms", "room=developers", find)
    camera.take("page-away", "room=developers", lambda page: _away(page, server))
    with ExitStack() as followers:
        for agent, query in FOLLOWERS.items():
            url, headers = f"{server.url}/messages?{query}", {"User-Agent": agent}
            followers.enter_context(httpx.stream("GET", url, headers=headers))
        camera.take("page-followers", "room=developers", _followers)


def _followers(page: Page) -> None:
    page.locator("#followers-open").click()
    page.locator("#follower-list td").first.wait_for()


def _away(page: Page, server: Running) -> None:
    page.goto(f"{server.url}/page/icon.svg")
    for n in range(60):
        server.publish(f"step {n} of the migration is done", "developers", user="build-bot")
    for _ in range(10):
        server.post([{"room": "noise", "text": "x"}] * 1000)
    for n in range(40):
        server.publish(f"step {60 + n} of the migration is done", "developers", user="build-bot")
    server.post([{"room": "noise", "text": "x"}] * 960)
    for _ in range(9):
        server.post([{"room": "noise", "text": "x"}] * 1000)
    page.evaluate("localStorage.setItem('roomcast.seen', String(Date.now() - 14 * 60000))")
    page.goto(f"{server.url}/?room=developers")
    page.locator("#away").wait_for()
    page.locator("#away-new").click()
    page.wait_for_timeout(300)
    page.evaluate("document.querySelector('#away').hidden = false")


if __name__ == "__main__":
    take(Path(__file__).parent)
