"""Sphinx's configuration for the site (`make docs`). The site loads nothing from elsewhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "src")]

import generate  # noqa: E402
from sphinx.application import Sphinx  # noqa: E402

from roomcast.version import __version__  # noqa: E402

project = "roomcast"
author = "the roomcast authors"
release = version = __version__

extensions = ["myst_parser"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
exclude_patterns = ["img"]
# Code without colours is not an error: there is no lexer for HAProxy, nor one for all of TypeScript.
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = f"roomcast {release}"
html_show_sphinx = False
html_copy_source = False
html_favicon = "../src/roomcast/page/icon.svg"

PAGES = {
    "../CHANGELOG.md": "changelog.md",
    "../CONTRIBUTING.md": "contributing.md",
    "../SECURITY.md": "security.md",
}


def _link_within(app: Sphinx, name: str, source: list[str]) -> None:
    """Turns links to files at the repository's top into links to their pages."""
    up = "../" * name.count("/")
    for file, page in PAGES.items():
        source[0] = re.sub(rf"\]\({re.escape(up + file)}", f"]({up}{page}", source[0])


def setup(app: Sphinx) -> None:
    generate.write(HERE / "reference")
    app.connect("source-read", _link_within)
