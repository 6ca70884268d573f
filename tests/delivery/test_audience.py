"""One write to all sinks of an audience: full, partial and failed ones, and sinks that leave."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from roomcast.delivery.audience import Audience
from roomcast.delivery.wire import WIRES
from roomcast.model.rooms import Selection

DATA = b"id: test-1\ndata: {}\n\n"


class Taking:
    """A sink whose socket takes so many bytes at once, or fails. It takes the rest by `write`."""

    def __init__(self, takes: int | OSError, wants_more: bool = True) -> None:
        self.takes = takes
        self.wants_more = wants_more
        self.sent = self.written = b""
        self.behind: list[int] = []

    @property
    def send(self) -> Callable[[bytes], int]:
        return self._send

    def _send(self, data: bytes) -> int:
        if isinstance(self.takes, OSError):
            raise self.takes
        self.sent += data[: self.takes]
        return min(self.takes, len(data))

    def write(self, data: bytes, start: int = 0) -> bool:
        self.written += data[start:]
        return self.wants_more

    def fall_behind(self, position: int) -> None:
        self.behind.append(position)


def audience(*sinks: Taking) -> Audience:
    gathered = Audience(Selection.of("a"), WIRES[1])
    gathered.live = {sink: sink for sink in sinks}
    gathered.position = 7
    return gathered


def test_a_new_audience_has_no_followers_and_no_write() -> None:
    new = Audience(Selection.of("a"), WIRES[1])
    assert (new.selection, new.wire, new.live, new.position, new.written_at) == (
        Selection.of("a"),
        WIRES[1],
        {},
        0,
        0.0,
    )


@pytest.mark.parametrize("error", [BlockingIOError(), BrokenPipeError()])
def test_each_sink_gets_all_bytes_whatever_its_socket_or_the_one_before_took(error: OSError) -> None:
    sinks = [Taking(100), Taking(error), Taking(3), Taking(0), Taking(100)]
    audience(*sinks).write(DATA)
    assert [sink.sent + sink.written for sink in sinks] == [DATA] * 5
    assert [sink.written for sink in sinks] == [b"", DATA, DATA[3:], DATA, b""]


def test_only_a_sink_that_takes_no_more_leaves() -> None:
    full, first_full, quick = Taking(0, wants_more=False), Taking(100, wants_more=False), Taking(0)
    gathered = audience(full, first_full, quick)
    gathered.write(DATA)
    assert [sink.behind for sink in (full, first_full, quick)] == [[7], [], []]
    assert list(gathered.live) == [first_full, quick]
