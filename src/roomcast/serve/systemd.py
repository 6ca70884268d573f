"""Tells systemd how the server is: the protocol of sd_notify(3), over the socket that `NOTIFY_SOCKET` names.

It is some lines of text in a datagram, so no library is needed. Without that variable nothing is sent."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"


_PATIENCE = 1.0
"""Seconds that systemd may take to make room for a message: its queue is short, and it is emptied at once."""


def notify(state: str) -> None:
    """Sends `state`, such as `READY`. It never fails: a message that systemd does not take in a second is lost.
    `ALIVE` waits for nothing: where there is no room, another one waits to be read."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path  # of Linux's abstract namespace
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0 if state == ALIVE else _PATIENCE)
        sender.sendto(state.encode(), address)


async def tell(state: str) -> None:
    """Sends it from a thread: the loop must not wait for room."""
    await asyncio.to_thread(notify, state)


def reloading() -> str:
    """The state to send before the configuration is read again; `READY` ends it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


async def feed_watchdog() -> None:
    """Says that the loop turns, twice in each `WatchdogSec`, for as long as the server runs. A loop that hangs
    says nothing, and systemd starts the server anew. Returns at once where there is no watchdog."""
    while pause := watchdog_seconds() / 2:
        notify(ALIVE)
        await asyncio.sleep(pause)


def ignore_systemd() -> None:
    """For a process that is none of systemd's: says nothing from now on."""
    for variable in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
        os.environ.pop(variable, None)


def watchdog_seconds() -> float:
    """What `WATCHDOG_USEC` says, in seconds; 0 where it is not there, or meant for another process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1_000_000 if microseconds.isdecimal() else 0
