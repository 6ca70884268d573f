"""The example that streams a language model's answer to pages, one of which is reloaded in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.running import Running, start_uvicorn

EXAMPLES = Path(__file__).parents[2] / "examples"
ANSWER = "".join(f"{number} " for number in range(1, 101)) + "thoughts on: why?"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("answers")
    server = start_uvicorn(folder, "answers:app", f"--app-dir={EXAMPLES}", "--timeout-graceful-shutdown=5")
    yield server
    server.kill()


def test_a_page_that_is_reloaded_in_the_middle_goes_on_and_so_does_one_that_comes_late(
    page: Page, server: Running
) -> None:
    page.goto(server.url)
    page.get_by_label("Question").fill("why?")
    page.get_by_role("button").click()
    answer, status = page.get_by_label("Answer"), page.get_by_role("status")
    expect(answer).to_contain_text("10 11 ")
    assert "thoughts" not in answer.inner_text()
    page.reload()
    expect(status).to_have_text("done")
    assert answer.inner_text() == ANSWER
    late = page.context.new_page()
    late.goto(page.url)
    expect(late.get_by_role("status")).to_have_text("done")
    assert late.get_by_label("Answer").inner_text() == ANSWER


@pytest.mark.only_in("chromium", because="no browser takes part")
def test_nobody_publishes_or_lists_rooms_over_http(started: object, server: Running) -> None:
    assert httpx.post(f"{server.url}/live/messages", json={"room": "run/x", "text": "no"}).status_code in (
        404,
        405,
    )
    assert server.get("/live/rooms").status_code == 404
