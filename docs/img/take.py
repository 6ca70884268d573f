"""Takes the README's pictures of the page: `make picture`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.running import start_roomcast

ROOMS: dict[str, list[dict[str, object]]] = {
    "alerts": [{"user": "prometheus", "text": "disk of db-2 is 91 % full", "type": "alert"}],
    "kitchen": [{"user": "linus", "text": "the cake is in the fridge"}],
    "orders": [{"user": "shop", "text": "order 4711 is paid", "type": "order.paid", "data": {"order": 4711}}],
    "developers": [
        {"user": "ada", "text": "was geht ab in buxtehude?"},
        {"user": "grace", "text": "The build is green again: https://ci.example/4711. Deploying at 14:00."},
        {
            "user": "build-bot",
            "type": "build.finished",
            "data": {"commit": "8d1f3c2", "passed": True, "seconds": 41},
        },
        {"user": "ada", "text": "moin, läuft"},
    ],
}


def take(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        server = start_roomcast(Path(data))
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            for room, messages in ROOMS.items():
                server.post([{"room": room, **message} for message in messages])
            wide = browser.new_page(viewport={"width": 1080, "height": 640}, device_scale_factor=2)
            phone = browser.new_page(
                viewport={"width": 390, "height": 720}, device_scale_factor=2, color_scheme="dark", locale="de-DE"
            )
            for page in (wide, phone):
                page.goto(f"{server.url}/?room=developers")
                page.wait_for_selector("#state[data-state=live]")
                page.locator("#rooms li").nth(3).locator(".newest", has_text=": ").wait_for(state="attached")
                page.locator("li.message").nth(3).wait_for()
            for n in range(3):
                server.publish(f"disk of db-2 is {92 + n} % full", "alerts", user="prometheus", type="alert")
            for page, name in ((wide, "page.png"), (phone, "phone.png")):
                page.locator(".unread", has_text="3").wait_for(state="attached")
                page.wait_for_timeout(1200)  # the chart has its next second
                page.screenshot(path=str(folder / name))
        finally:
            browser.close()
            server.kill()


if __name__ == "__main__":
    take(Path(__file__).parent)
