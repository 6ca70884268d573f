"""Makes Debian's Firefox usable by Playwright, as a program to run in its place.

Playwright drives Firefox by WebDriver BiDi. It begins with a command that the ESR does not have: which colours a
page should prefer. This relay answers that one command itself and passes on everything else as it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

PROGRAM = "firefox-esr"
MISSING = "emulation.setMediaFeaturesOverride"
_LISTENING = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")


def executable(folder: Path) -> Path | None:
    """A program in `folder` that runs Firefox behind the relay, and leaves its process id in the file `pid` there.

    None if Firefox is not installed."""
    if shutil.which(PROGRAM) is None:
        return None
    program = folder / "firefox"
    program.write_text(
        f'#!/bin/sh\necho $$ >"{folder}/pid"\nexec "{sys.executable}" "{__file__}" "$@"\n', encoding="utf-8"
    )
    program.chmod(0o700)
    return program


def main() -> int:
    """Runs Firefox, and prints the relay's address in place of Firefox's own."""
    process = subprocess.Popen([PROGRAM, *sys.argv[1:]], stderr=subprocess.PIPE)
    assert process.stderr
    for line in process.stderr:
        if found := _LISTENING.search(line):
            Thread(target=_relay, args=(found[1].decode(),), daemon=True).start()
            break
        _say(line)
    for line in process.stderr:
        _say(line)
    return process.wait()


def _relay(firefox: str) -> None:
    def session(playwright: ServerConnection) -> None:
        path = playwright.request.path if playwright.request else ""
        with connect(firefox + path, max_size=None, compression=None, ping_interval=None) as browser:
            Thread(target=_to_playwright, args=(browser, playwright), daemon=True).start()
            _to_browser(playwright, browser)

    with serve(session, "127.0.0.1", 0, max_size=None, compression=None, ping_interval=None) as server:
        _say(f"WebDriver BiDi listening on ws://127.0.0.1:{server.socket.getsockname()[1]}\n".encode())
        server.serve_forever()


def _to_browser(playwright: ServerConnection, browser: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        for message in playwright:
            if answer := _answer(message):
                playwright.send(answer)
            else:
                browser.send(message)


def _to_playwright(browser: ClientConnection, playwright: ServerConnection) -> None:
    with suppress(ConnectionClosed):
        for message in browser:
            playwright.send(message)
    playwright.close()


def _answer(message: str | bytes) -> str | None:
    if MISSING not in str(message):
        return None
    command = json.loads(message)
    if command["method"] != MISSING:
        return None
    return json.dumps({"type": "success", "id": command["id"], "result": {}})


def _say(line: bytes) -> None:
    os.write(2, line)


if __name__ == "__main__":
    sys.exit(main())
