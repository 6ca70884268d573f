"""Steps that a user of the page takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.conftest import Serve
from tests.running import Running, wait_for

in_one_browser = pytest.mark.only_in("chromium", because="nothing in it depends on the browser")
EXAMPLE = "was geht ab in buxtehude?"


def post(server: Running, *messages: str | Mapping[str, object]) -> list[str]:
    """Publishes messages to the room developers as one batch; returns their ids."""
    batch = [{"text": message} if isinstance(message, str) else message for message in messages]
    answer = server.post([{"room": "developers", **message} for message in batch])
    assert answer.status_code == 201, answer.text
    return [stored["id"] for stored in answer.json()]


def history(server: Running, **parameters: str) -> Any:
    return server.get(
        "/messages", params={"room": "developers", **parameters}, headers={"Accept": "application/json"}
    ).json()


def again(serve: Serve, server: Running, *options: str) -> Running:
    """Starts a server again, on the same port and log."""
    return serve("--port", str(server.port), *options)


def open_room(page: Page, server: Running, room: str = "developers") -> None:
    page.goto(f"{server.url}/?room={room}")
    expect(state(page)).to_have_attribute("data-state", "live")


def state(page: Page) -> Locator:
    return page.locator("#state")


def texts(page: Page) -> Locator:
    return page.locator("#messages li.message .text")


def eventually(page: Page, look: Callable[[], object], what: str) -> None:
    """Waits until `look()` is true. Between two calls the browser runs, since its handlers only run in
    Playwright's calls."""

    def looked() -> object:
        page.wait_for_timeout(20)
        return look()

    wait_for(looked, what)


def away(page: Page) -> None:
    """Cuts the page off from the server."""
    page.route("**/messages**", lambda route: route.abort())


def cut(page: Page) -> None:
    """Cuts the page's stream, as a network that is gone for a moment does."""
    page.evaluate("dispatchEvent(new Event('offline'))")


def back(page: Page) -> None:
    page.unroute("**/messages**")
    page.locator("#again").dispatch_event("click")  # if the page has not reconnected by itself
