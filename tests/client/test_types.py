"""Programs that use the client, under a type checker: the documentation's examples are strictly typed, and items
have their types."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import assert_type

import pytest

from roomcast.client import AsyncClient, Client, Gap, Live, Message
from roomcast.client.sse import Comment, Event, aconnect, connect
from tests.client.test_docs import EXAMPLES
from tests.conftest import require
from tests.running import PATIENCE, Running

ROOT = Path(__file__).parents[2]


def test_the_examples_of_the_docs_are_strictly_typed(tmp_path: Path) -> None:
    for number, example in enumerate(EXAMPLES):
        (tmp_path / f"example_{number}.py").write_text(example)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={tmp_path}", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=6 * PATIENCE,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("module", ["client", "embed", "app_settings", "auth.host", "model.errors"])
def test_the_types_of_what_users_import_are_all_known(module: str) -> None:
    pyright = ROOT / "tests/interop/node_modules/pyright/index.js"
    if not pyright.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no pyright: run tests/setup.sh")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # it looks for packages with the first Python
    checked = subprocess.run(
        [require("node"), str(pyright), "--verifytypes", f"roomcast.{module}", "--ignoreexternal"],
        capture_output=True,
        text=True,
        check=False,
        timeout=6 * PATIENCE,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "src")},
    )
    assert "Type completeness score: 100%" in checked.stdout, checked.stdout


@pytest.fixture
def url(server: Running) -> str:
    """The address of a stream with one event."""
    server.publish("x")
    return f"{server.url}/messages?room=developers"


def test_events_and_comments_have_their_types(url: str) -> None:
    with connect(url) as events:
        event = assert_type(next(events), Event)
        assert event.type == "message"
    asked = bool(url)
    with connect(url, comments=asked, retry=1.0) as items:
        item = assert_type(next(items), Event | Comment)
        assert isinstance(item, Event)


async def test_events_and_comments_have_their_types_with_await(url: str) -> None:
    async with aconnect(url) as events:
        event = assert_type(await anext(events), Event)
        assert event.type == "message"
    async with aconnect(url, comments=True) as items:
        item = assert_type(await anext(items), Event | Comment)
        assert isinstance(item, Event)


async def test_items_of_a_follower_have_their_types(server: Running) -> None:
    server.publish("x")
    with Client(server.url) as client, client.follow("developers") as stream:
        assert_type(next(stream), Message | Gap | Live)
    async with AsyncClient(server.url) as waiting, waiting.follow("developers") as later:
        assert_type(await anext(later), Message | Gap | Live)
