"""The script of docs/rights.md that opens streams with tickets loses and doubles nothing from one ticket to the
next."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Route

from tests.browser.rights import OFTEN, hasty
from tests.browser.steps import eventually
from tests.running import Running, start_roomcast

RECIPE = (Path(__file__).parents[2] / "docs/rights.md").read_text().partition("\n## No JWT\n")[2]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    """The server of the recipe."""
    prepare, serve = re.findall(r"^```sh\n(.*?)^```$", RECIPE, re.MULTILINE | re.DOTALL)[:2]
    shell = f'roomcast() {{ {shlex.quote(sys.executable)} -m roomcast "$@"; }}\n{prepare}'
    subprocess.run(["bash", "-ec", shell], cwd=tmp_path, check=True, capture_output=True)
    options = shlex.split(serve.partition("roomcast serve")[2])
    running = start_roomcast(tmp_path, *options, *OFTEN, program=hasty())
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
        asked = {"rooms": ["user/42"], "seconds": 1}
        issued.append(server.send("POST", "/tickets", json=asked, headers=bearer).json()["url"])
        route.fulfill(body=issued[-1])

    page = (
        context.new_page()
    )  # not the fixture `page`: Firefox reports the 401 at a ticket's end as an error of the page
    heard: list[str] = []
    page.on("console", lambda message: heard.append(message.text) if message.type == "log" else None)
    page.route("**/live-url", live_url)
    page.clock.install()  # the script waits for two seconds
    page.goto(f"{server.url}/healthz")  # a page of this origin
    page.evaluate(f"() => {{ {script} }}")
    sent: list[str] = []

    def publish() -> bool:
        sent.append(str(len(sent)))
        assert server.post({"room": "user/42", "text": sent[-1]}, headers=bearer).status_code == 201
        page.clock.run_for(200)
        return len(issued) >= 3

    eventually(page, publish, "two more tickets")
    eventually(page, lambda: len(heard) >= len(sent), "all messages")
    assert heard == sent
