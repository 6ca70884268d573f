"""Takes the pictures of the command line: `make terminal`.

Real programs run in a real terminal; what they write becomes an SVG. Of the escape sequences it knows those that
roomcast writes: colours, and the cursor's way back over a table.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from html import escape
from pathlib import Path

from tests.cli.shell import Program
from tests.running import start_roomcast

WIDTH, LINE, LEFT, TOP = 8.4, 20, 16, 52
"""Of a character; of a line's height; margins."""

_PIECE = re.compile(r"\x1b\[([\d;]*)([A-Za-z])|([^\x1b\n]+)|(\n)")
_CLASSES = {
    "1": "b",
    "2": "d",
    "31": "red",
    "32": "green",
    "33": "yellow",
    "34": "blue",
    "35": "magenta",
    "36": "cyan",
}

STYLE = """
  text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #e6edf3; white-space: pre; }
  .ground { fill: #0d1117; stroke: #3d444d; }
  .title { fill: #9198a1; }
  .b { font-weight: 700; } .d { fill: #9198a1; }
  .red, .bright_red { fill: #ff7b72; } .green { fill: #7ee787; } .yellow { fill: #e3b341; }
  .blue { fill: #79c0ff; } .magenta { fill: #d2a8ff; } .cyan { fill: #56d4dd; }
"""

MESSAGES = [
    {"user": "ada", "text": "was geht ab in buxtehude?"},
    {"user": "grace", "text": "The build is green again. Deploying at 14:00."},
    {"user": "build-bot", "type": "build.finished", "data": {"commit": "8d1f3c2", "passed": True, "seconds": 41}},
    {"user": "ada", "text": "moin, läuft"},
]


def screen(written: str) -> list[list[tuple[str, str]]]:
    """The lines at the end, each as stretches of (classes, text)."""
    lines: list[list[tuple[str, str]]] = [[]]
    style = ""
    for codes, end, text, _ in _PIECE.findall(written.replace("\r\n", "\n")):
        if end == "m":
            style = " ".join(filter(None, [style, *(_CLASSES.get(code, "") for code in codes.split(";"))]))
            style = "" if codes in ("", "0") else style
        elif end == "F":
            del lines[len(lines) - 1 - int(codes) :]
            lines.append([])
        elif text:
            lines[-1].append((style, text))
        elif not end:
            lines.append([])
    return lines[:-1] if not lines[-1] else lines


def svg(title: str, lines: list[list[tuple[str, str]]]) -> str:
    """The picture."""
    columns = max(sum(len(text) for _, text in line) for line in lines)
    width, height = round(2 * LEFT + WIDTH * max(columns, len(title) + 2)), TOP + LINE * len(lines)
    rows = "\n".join(_rows(lines))
    box = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return f"""<svg xmlns="http://www.w3.org/2000/svg" {box} role="img">
<title>{escape(title)}</title>
<style>{STYLE}</style>
<rect class="ground" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="8"/>
<text class="title" x="{LEFT}" y="26">$ {escape(title)}</text>
{rows}
</svg>
"""


def _rows(lines: list[list[tuple[str, str]]]) -> Iterator[str]:
    for number, line in enumerate(lines):
        spans = "".join(
            f'<tspan class="{style}">{escape(text)}</tspan>' if style else escape(text) for style, text in line
        )
        yield f'<text x="{LEFT}" y="{TOP + LINE * number}" xml:space="preserve">{spans}</text>'


def take(folder: Path) -> None:
    """Both pictures, into a folder."""
    with tempfile.TemporaryDirectory() as place:
        server = start_roomcast(Path(place), "--max-messages=4")
        try:
            server.post([{"room": "developers", "text": "gone"}] * 4)
            server.post([{"room": "developers", **message} for message in MESSAGES])
            command = ["tail", "developers", "--since=1h", "--count=4"]
            with Program(*command, url=server.url, terminal=True) as tail:
                tail.wait()
            (folder / "tail.svg").write_text(svg("roomcast tail developers --since 1h", screen(tail.out)))
            command = ["bench", server.url, "--followers=500", "--rooms=5", "--rate=200", "--seconds=5"]
            with Program(*command, url="", terminal=True) as bench:
                bench.wait()
            title = f"roomcast bench http://localhost:8080 {' '.join(command[2:])}"
            (folder / "bench-run.svg").write_text(svg(title, screen(bench.out)))
        finally:
            server.kill()


if __name__ == "__main__":
    take(Path(__file__).parent)
