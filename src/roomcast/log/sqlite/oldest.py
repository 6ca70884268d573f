"""Decides which of the log's oldest messages go now, by the caps of the whole log and its age. Knows no SQL."""

from __future__ import annotations

from collections.abc import Container, Iterable

from roomcast.log.sqlite.state import LogState
from roomcast.log.sqlite.write_cache import Candidate
from roomcast.model.retention import Retention


def trim_oldest(
    state: LogState,
    oldest: Iterable[Candidate],
    retention: Retention,
    *,
    limit: int,
    end: int,
    too_old: int,
    gone: Container[int],
    cut: Container[int],
) -> tuple[LogState, bool]:
    """Returns the log after trimming, and whether more is left to trim.

    `state`: the log before. `oldest`: its oldest messages in order. `retention`: the caps of the whole log.
    `limit`: the most messages to remove. `end`: the last that may go. `too_old`: messages stored before this time
    (ms since 1970) go; -1 if none do. Messages in `gone` and `cut` are no longer counted in `state`, because a
    rule removed them.
    """
    most_messages, most_bytes = retention.max_messages, retention.max_bytes
    newest, newest_at, trimmed, size, forgotten, forgotten_at, messages, deletions = state
    unfinished = False
    for seq, length, stored_at in oldest:
        if seq > end or not (messages > most_messages or size > most_bytes or stored_at < too_old):
            break
        if not limit:
            unfinished = True
            break
        limit -= 1
        trimmed = seq
        if length >= 0 and seq not in gone and seq not in cut:
            messages -= 1
            size -= length
    after = LogState(newest, newest_at, trimmed, size, forgotten, forgotten_at, messages, deletions)
    return after, unfinished
