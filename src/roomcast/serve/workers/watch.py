"""Whether the processes' loops still turn: each is asked again and again, and one that does not answer is found
out. Nobody else would notice: its listening socket stays open, and new clients wait in its backlog for ever."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from roomcast.serve.workers.child import Child
from roomcast.serve.workers.orders import Ping

LOOK_SECONDS = 5.0
"""Between two questions."""
UNANSWERED = 5
"""A process that has left so many questions in a row unanswered hangs: after 25 to 30 s.

Longer than swapping, or a short look with a debugger, keeps a process (20 s are tested), and longer than the 5 s
after which trimming waits for it no more. Not much longer: its streams have missed a heartbeat (15 s) by then, so
clients that watch for those have left already. Questions are counted, not seconds: when all processes stood still,
such as in a container that was paused, only one question is open."""


def look(children: Iterable[Child]) -> Sequence[Child]:
    """Asks each process that has started, and returns those that are now found to hang; each once. To be called
    every `LOOK_SECONDS`. A process that starts is not asked: opening a large log may keep its loop."""
    started = [child for child in children if child.ready and not child.hangs]
    found = [child for child in started if child.unanswered >= UNANSWERED]
    for child in started:
        if child in found:
            child.hangs = True
        else:
            child.unanswered += 1
            child.order(Ping())
    return found
