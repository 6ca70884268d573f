"""Takes the README's picture of the page: `make picture`."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.running import start_roomcast

MESSAGES = [
    {"user": "ada", "text": "was geht ab in buxtehude?"},
    {"user": "grace", "text": "The build is green again. Deploying at 14:00, shout if that is bad for you."},
    {"user": "build-bot", "type": "build.finished", "data": {"commit": "8d1f3c2", "passed": True, "seconds": 41}},
    {"user": "ada", "text": "moin, läuft"},
]


def take(target: Path) -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = start_roomcast(Path(folder))
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        try:
            server.post([{"room": "developers", **message} for message in MESSAGES])
            page = browser.new_page(viewport={"width": 900, "height": 640}, device_scale_factor=2)
            page.goto(f"{server.url}/?room=developers")
            page.wait_for_selector("#state[data-state=live]")
            page.wait_for_selector("li.message:nth-of-type(4)")
            page.screenshot(path=str(target))
        finally:
            browser.close()
            server.kill()


if __name__ == "__main__":
    take(Path(__file__).with_name("page.png"))
