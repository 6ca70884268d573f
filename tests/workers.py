"""The processes of a server with workers, observed from outside."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import httpx

from tests.running import PATIENCE, Running, wait_for

_numbers = count(1)
_KEPT = httpx.Limits(keepalive_expiry=None)
"""Idle connections are kept: after 5 s httpx would replace one, perhaps by a connection to another worker."""

_WITHIN_A_SECOND = "a limit holds at all workers within a second, not at once: see tests/serve/test_together.py"
ONE_PROCESS: Mapping[str, str] = (
    {
        f"rights/test_limits.py::{test}": _WITHIN_A_SECOND
        for test in (
            "test_a_stream_above_the_limit_is_told_to_retry",
            "test_a_token_and_its_ticket_are_one_person",
            "test_a_person_has_a_hundred_streams_by_default",
            "test_a_publish_beyond_the_rate_is_429_with_retry_after",
            "test_a_batch_counts_as_its_messages",
            "test_a_key_is_one_principal_and_its_tickets_are_others",
            "test_429_comes_before_the_body",
            "test_strangers_are_counted_by_address",
            "test_limits_of_strangers_hold_on_an_open_server",
        )
    }
    | {
        f"rights/test_revocations.py::{test}": "a revocation is in force at the other workers within a second"
        for test in (
            "test_the_older_credentials_of_a_person_end_and_nothing_else",
            "test_tokens_end_by_when_they_were_issued_and_by_whom",
            "test_a_revocation_is_in_the_audit_and_outlives_a_restart",
        )
    }
    | {
        f"hardening/test_limits.py::{test}": "each worker has a file limit of its own"
        for test in (
            "test_more_connections_than_files_make_room_for_each_other_and_hold_up_nobody",
            "test_more_followers_than_files_are_asked_to_come_back_later",
        )
    }
    | {
        "hardening/test_signals.py::test_a_server_that_was_stopped_for_long_goes_on_and_blames_nobody": (
            "SIGSTOP stops the supervisor, not its workers"
        )
    }
)
"""The tests that cannot hold with `--workers`, each with the reason. With ROOMCAST_TEST_WORKERS they are
skipped."""


def processes(server: Running) -> dict[str, int]:
    """The ids of a server's processes by their names (`log`, `1`, `2`), without the supervisor."""
    found = {}
    pid = server.process.pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            name = Path(f"/proc/{child}/comm").read_text().strip()
        except FileNotFoundError:
            continue
        if name.startswith("roomcast "):
            found[name.removeprefix("roomcast ")] = int(child)
    return found


def kill(server: Running, name: str, number: int = signal.SIGKILL) -> int:
    """Sends a signal to the process with this name; returns its id."""
    pid = processes(server)[name]
    os.kill(pid, number)
    return pid


def is_gone(pid: int) -> bool:
    """Whether a process has ended, even if nobody has read its status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_another(server: Running, name: str, pid: int) -> int:
    """Waits until another process has taken the place of the one with this id."""
    wait_for(lambda: processes(server).get(name, pid) != pid, f"another process {name}")
    return processes(server)[name]


@contextmanager
def each_worker(server: Running, number: int = 2) -> Iterator[list[httpx.Client]]:
    """For each worker, in order, a client with a connection to it. The kernel chooses the worker; the access log
    tells which one it was."""
    found: dict[str, httpx.Client] = {}
    with ExitStack() as stack:
        while len(found) < number:
            client = stack.enter_context(httpx.Client(base_url=server.url, timeout=PATIENCE, limits=_KEPT))
            path = f"/healthz?{next(_numbers)}"
            assert client.get(path).status_code == 200
            worker = server.wait_until_it_says(rf"\[(\d+)\] \S+ GET {re.escape(path)} ")[1]
            found.setdefault(worker, client)
        yield [found[worker] for worker in sorted(found)]
