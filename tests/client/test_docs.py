"""The examples of docs/client.md run as they are written."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tests.running import Running
from tests.test_docs import ROOT, blocks

EXAMPLES = blocks((ROOT / "docs/client.md").read_text(), "python")


SAID = ["was geht ab in buxtehude?", "order.paid {'order': 7}", "developers", "message"]


@pytest.mark.parametrize(
    ("example", "said"),
    [*zip(EXAMPLES, SAID, strict=True)],
    ids=["async", "sync", "auth", "sse"],
)
async def test_an_example_runs(
    server: Running, example: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server.publish("x")
    names: dict[str, Any] = {}
    exec(example, names)
    url = server.url if "client.sse" not in example else f"{server.url}/messages?room=developers"
    running = names["main"](url)
    if inspect.isawaitable(running):
        await running
    assert said in capsys.readouterr().out
