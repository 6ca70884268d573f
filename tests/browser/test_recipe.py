"""The script of docs/rights.md that opens streams with tickets loses and doubles nothing from one ticket to the
next."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import BrowserContext, Route

from tests.running import Running, start_roomcast

RECIPE = (Path(__file__).parents[2] / "docs/rights.md").read_text().partition("\n## No JWT\n")[2]
WITHOUT_LEEWAY = (
    "from roomcast.auth import leeway, tickets; leeway.LEEWAY_SECONDS = tickets.LEEWAY_SECONDS = 0; "
    "from roomcast.cli.main import main; main()"
)
"""Without this, the leeway would keep a ticket of two seconds valid for half a minute."""
MESSAGES = 50
PACE = 100
"""Milliseconds between two messages; the messages take five seconds, longer than two tickets."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """The server of the recipe."""
    prepare, serve = re.findall(r"^```sh\n(.*?)^```$", RECIPE, re.MULTILINE | re.DOTALL)[:2]
    shell = f'roomcast() {{ {shlex.quote(sys.executable)} -m roomcast "$@"; }}\n{prepare}'
    subprocess.run(["bash", "-ec", shell], cwd=tmp_path, check=True, capture_output=True)
    options = shlex.split(serve.partition("roomcast serve")[2])
    running = start_roomcast(tmp_path, *options, program=("-c", WITHOUT_LEEWAY))
    yield running
    running.kill()


def test_the_recipes_page_hears_each_message_once_over_tickets_that_end(
    server: Running, context: BrowserContext
) -> None:
    _, script = re.findall(r"^```js\n(.*?)^```$", RECIPE, re.MULTILINE | re.DOTALL)[:2]
    key = (server.folder / "key").read_text().strip()
    bearer = {"authorization": f"Bearer {key}"}
    issued: list[str] = []

    def live_url(route: Route) -> None:
        asked = {"rooms": ["user/42"], "seconds": 2}
        issued.append(httpx.post(f"{server.url}/tickets", json=asked, headers=bearer).json()["url"])
        route.fulfill(body=issued[-1])

    page = (
        context.new_page()
    )  # not the fixture `page`: Firefox reports the 401 at a ticket's end as an error of the page
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text) if message.type == "log" else None)
    page.route("**/live-url", live_url)
    page.goto(f"{server.url}/healthz")  # a page of this origin
    page.evaluate(f"() => {{ {script} }}")
    sent = [str(number) for number in range(MESSAGES)]
    for text in sent:
        answer = server.post({"room": "user/42", "text": text}, headers=bearer)
        assert answer.status_code == 201
        page.wait_for_timeout(PACE)
    while len(heard) < MESSAGES:  # bounded by the watchdog over all browser tests
        page.wait_for_timeout(PACE)
    assert heard == sent
    assert len(issued) >= 2
