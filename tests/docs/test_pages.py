"""The commands of the tutorial and of the how-to pages work as written, and the site can be built."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.walkthrough import RUN, Walkthrough, blocks

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ELSEWHERE = {
    "docs/howto/containers.md": "tests/deploy/test_container.py",
    "docs/howto/systemd.md": "tests/deploy/test_systemd.py",
    "docs/howto/react-vue.md": "tests/browser/test_package.py",
    "docs/tutorial/dashboard.md": "tests/browser/test_tutorial.py",
}
"""Pages with a test of their own."""
PAGES = [
    *sorted((DOCS / "tutorial").glob("*.md")),
    *sorted((DOCS / "howto").glob("*.md")),
    DOCS / "faq.md",
    DOCS / "gaps.md",
]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if name(page) not in ELSEWHERE], ids=name)
def test_the_commands_of_a_page_do_what_it_says(page: Path, tmp_path: Path) -> None:
    missing = {RUN[b.language] for b in blocks(page) if b.language in RUN and "not run" not in b.comments} - {
        "python"
    }
    for program in missing:
        if not shutil.which(program):
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{program} is not installed")
    with Walkthrough(page, tmp_path) as walkthrough:
        walkthrough.run()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_of_a_page_is_run_or_a_comment_says_why_not(page: Path) -> None:
    if test := ELSEWHERE.get(name(page)):
        assert page.name in (ROOT / test).read_text()
        return
    assert [block.text for block in blocks(page) if not block.is_covered and block.language != "text"] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    """Sphinx also checks links to headings."""
    pytest.importorskip("sphinx", reason="make test installs it")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-d", str(tmp_path / "trees")]
    done = subprocess.run(
        [*command, "-b", "html", str(DOCS), str(tmp_path / "site")], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.returncode == 0
    site = (tmp_path / "site/reference/options.html").read_text()
    assert "ROOMCAST_MAX_BYTES" in site
    loads = r'<(?:script|link|img)[^>]+(?:src|href)="https?://'
    assert re.findall(loads, site) == [], "the page loads a file from another host"
