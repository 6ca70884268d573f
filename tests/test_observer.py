"""The tests' own follower must not wait for ever."""

from __future__ import annotations

import time

import pytest

from tests import observer
from tests.conftest import Serve
from tests.observer import Observer


def test_an_observer_gives_up_on_an_event_that_never_comes_despite_heartbeats(
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
