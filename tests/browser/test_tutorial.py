"""Follows docs/tutorial/dashboard.md to its end, then uses its dashboard in a browser, behind nginx with TLS."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.conftest import require
from tests.docs.walkthrough import Walkthrough, blocks

PAGE = Path(__file__).parents[2] / "docs/tutorial/dashboard.md"
SERVE = "roomcast serve --config"
PROGRAM = "LIVE= python3 dashboard.py"


@pytest.fixture(scope="module")
def walkthrough(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walkthrough]:
    """The page's processes, still running; the program is started as in the last part of the page."""
    require("nginx")
    with Walkthrough(PAGE, tmp_path_factory.mktemp("dashboard")) as walkthrough:
        walkthrough.run()
        walkthrough.end("python3 dashboard.py")
        [again] = [block.text for block in blocks(PAGE) if PROGRAM in block.text]
        walkthrough.start(again, "8000")
        yield walkthrough


def loads(lines: list[str]) -> list[int]:
    return [int(found) for line in lines for found in re.findall(r": (\d+) %", line)]


@pytest.mark.only_in("chromium", because="the module runs in both elsewhere")
def test_each_user_sees_their_own_figures_and_a_killed_server_leaves_no_hole(
    browser: Browser, walkthrough: Walkthrough
) -> None:
    pages = {}
    for name in ("anna", "bob"):
        context = browser.new_context(ignore_https_errors=True)
        page = pages[name] = context.new_page()
        page.goto(f"https://localhost:{walkthrough.port('8443')}/")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(name)
        page.get_by_role("button").click()
        expect(page.locator("p[role=status]")).to_have_text("live")
    figures = {name: page.get_by_role("listitem") for name, page in pages.items()}
    expect(figures["bob"]).not_to_have_count(0)
    walkthrough.end(SERVE, signal.SIGKILL)
    expect(pages["anna"].locator("p[role=status]")).to_contain_text("reconnecting")
    [serve] = [block.text for block in blocks(PAGE) if block.text.startswith(SERVE)]
    walkthrough.start(serve, "8080")
    expect(pages["anna"].locator("p[role=status]")).to_have_text("live")
    before = figures["anna"].count()
    expect(figures["anna"].nth(before + 1)).to_be_attached()
    for name, first in (("anna", 70), ("bob", 80)):
        shown = loads(figures[name].all_inner_texts())
        assert shown
        assert {number // 10 for number in shown} == {first // 10}
        assert "missing" not in pages[name].get_by_role("list").inner_text()
