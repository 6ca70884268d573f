"""The tests' own follower: it must not wait for ever."""

from __future__ import annotations

import time

import pytest

from tests import observer
from tests.conftest import Serve
from tests.observer import Observer


def test_who_waits_for_an_event_that_never_comes_gives_up_though_heartbeats_do(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve("--heartbeat=0.1", "--log=memory:")
    with Observer(server.port, "/messages?room=silent") as follower:
        follower.until_live()
        monkeypatch.setattr(observer, "PATIENCE", 0.5)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            follower.next()
        assert time.monotonic() - began >= 0.5
        assert follower.comments > 0
