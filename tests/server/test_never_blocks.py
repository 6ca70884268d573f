"""The event loop never blocks: the whole server runs with every blocking call on its loop forbidden."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tests.observer import Observer
from tests.running import Running

_STRICT = (
    "from blockbuster import BlockBuster; BlockBuster().activate(); from roomcast.cli.main import main; main()"
)
_JSON = {"Accept": "application/json"}


def test_no_call_on_the_loop_blocks(tmp_path: Path) -> None:
    options = ["--port=0", "--page-port=0", "--log=sqlite:test.db", "--max-messages=20", "--heartbeat=0.2"]
    server = Running([sys.executable, "-c", _STRICT, "serve", *options], tmp_path)
    try:
        server.port = int(server.wait_until_it_says(r"follow +http://localhost:(\d+)/")[1])
        with Observer(server.port, "/messages?room=developers") as live:
            live.until_live()
            for number in range(60):
                server.publish(str(number), user="x" if number % 2 else "y")
            assert live.texts(60)[-1] == "59"
            live.wait_for_heartbeats(2)
            answer = server.post([{"text": "a", "room": "b"}], headers={"Idempotency-Key": "k"})
            again = server.post([{"text": "a", "room": "b"}], headers={"Idempotency-Key": "k"})
            assert (answer.status_code, again.status_code) == (201, 200)
            for target in ("replay=3", "since=1h", "after=0", "before=" + answer.json()[0]["id"], "limit=1000"):
                assert server.get(f"/messages?room=developers&room=b&{target}", headers=_JSON).status_code == 200
            for path in ("/", "/rooms", "/readyz", "/metrics", "/openapi.json", answer.headers["location"]):
                assert server.get(path).status_code == 200, path
            with Observer(server.port, "/messages?room=developers&since=1h") as late:
                assert late.next().name == "gap"
            assert server.terminate() == 0
            assert live.next_or_end() is None
    finally:
        server.end()
    assert not re.search("BlockingError|Traceback", server.said()), server.said()
