"""Finds processes that hang, by pinging each of them regularly. Nothing else would notice: the listening socket
stays open, and new clients wait in its backlog for ever."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roomcast.serve.workers.child import Child
from roomcast.serve.workers.orders import Ping

PING_SECONDS = 5.0
"""Seconds between two questions."""
MAX_UNANSWERED = 5
"""A process that has left this many questions in a row unanswered hangs. That takes 25 to 30 s.

This is longer than swapping or a short look with a debugger stops a process (20 s are tested), and longer than the
5 s after which trimming no longer waits for it. Much longer would not help: its streams have missed a heartbeat
(15 s) by then, so clients that watch for heartbeats have left. Questions are counted, not seconds: after all
processes stood still, as in a paused container, only one question is open."""


def find_hung(children: Iterable[Child]) -> Sequence[Child]:
    """Pings each of `children` that has started, and returns those that now turn out to hang, each once. Call it
    every `PING_SECONDS`. A process that is starting is not pinged: opening a large log may block its loop."""
    started = [child for child in children if child.ready and not child.hangs]
    found = [child for child in started if child.unanswered >= MAX_UNANSWERED]
    for child in started:
        if child in found:
            child.hangs = True
        else:
            child.unanswered += 1
            child.order(Ping())
    return found
