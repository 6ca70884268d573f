"""The outcome of a job, on its way from the writer's thread to the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from roomcast.log.sqlite.state import LogState
from roomcast.model.message import Cut, Message


class Committed(NamedTuple):
    """The log after a job of the writer, and what the job did."""

    state: LogState
    messages: Sequence[Message]
    """The messages that were stored."""
    answers: Sequence[Any]
    """One for each request, in order."""
    cuts: Sequence[Cut] = ()
    """The cuts by rules and deletes."""
    more: bool = False
    """Whether there is more to trim."""
    writable: bool = False
    """Whether the job shows that the log can be written, even if `state` has not changed."""
