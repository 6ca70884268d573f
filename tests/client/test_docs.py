"""The examples of docs/client.md run as they are written."""

from __future__ import annotations

import asyncio
import inspect
import textwrap
from typing import Any

import pytest

from tests.client.conftest import KEY
from tests.client.scripted import aside
from tests.running import PATIENCE, Running
from tests.test_docs import ROOT, blocks

EXAMPLES = blocks((ROOT / "docs/client.md").read_text(), "python")


SAID = ["was geht ab in buxtehude?", "order.paid {'order': 7}", "developers", "Live(", "message"]


@pytest.mark.parametrize(
    ("example", "said"),
    [*zip(EXAMPLES, SAID, strict=True)],
    ids=["async", "sync", "auth", "ticket", "sse"],
)
async def test_an_example_runs(
    server: Running, guarded: Running, example: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.publish("x")
    names: dict[str, Any] = {}
    exec(example, names)
    if "key: str" in example:
        await names["main"](guarded.url, KEY)
        assert said in capsys.readouterr().out
        return
    url = server.url if "client.sse" not in example else f"{server.url}/messages?room=developers"
    async with asyncio.timeout(PATIENCE):
        if inspect.iscoroutinefunction(names["main"]):
            await names["main"](url)
        else:
            await asyncio.wrap_future(aside(names["main"], url))
    assert said in capsys.readouterr().out


async def test_the_readmes_example_runs(server: Running, capsys: pytest.CaptureFixture[str]) -> None:
    [example] = blocks((ROOT / "README.md").read_text(), "py")
    names: dict[str, Any] = {}
    exec(
        "async def main():\n" + textwrap.indent(example.replace("http://localhost:8080", server.url), "    "),
        names,
    )
    server.publish("from the readme")
    running = asyncio.create_task(names["main"]())
    said = ""
    async with asyncio.timeout(PATIENCE):
        while "from the readme" not in said or "Live" not in said:
            await asyncio.sleep(0.01)
            said += capsys.readouterr().out
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
