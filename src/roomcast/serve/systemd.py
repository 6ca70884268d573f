"""Reports the server's state to systemd: the protocol of sd_notify(3), over the socket in `NOTIFY_SOCKET`.

A message is a datagram of text lines, so no library is needed. Without that variable nothing is sent."""

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
"""Seconds to wait for room in systemd's queue, which is short but emptied at once."""


def notify(state: str) -> None:
    """Sends `state`, such as `READY`. Never fails: a message that systemd does not accept within a second is lost.
    `ALIVE` does not wait even that long: if there is no room, an earlier message is still unread."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path  # Linux's abstract namespace
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0 if state == ALIVE else _PATIENCE)
        sender.sendto(state.encode(), address)


async def tell(state: str) -> None:
    """Like `notify(state)`, in a thread: the loop must not wait for room in systemd's queue."""
    await asyncio.to_thread(notify, state)


def reloading() -> str:
    """The state to send before the configuration is read again; `READY` ends it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


async def feed_watchdog() -> None:
    """Reports that the loop runs, twice in each `WatchdogSec`, until it is cancelled. If the loop hangs, systemd
    restarts the server. Returns at once if there is no watchdog."""
    while pause := watchdog_seconds() / 2:
        notify(ALIVE)
        await asyncio.sleep(pause)


def ignore_systemd() -> None:
    """Stops reporting: only the process that systemd started may."""
    for variable in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
        os.environ.pop(variable, None)


def watchdog_seconds() -> float:
    """The value of `WATCHDOG_USEC`, in seconds; 0 if it is missing or meant for another process."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1_000_000 if microseconds.isdecimal() else 0
