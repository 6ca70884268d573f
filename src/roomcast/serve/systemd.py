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


def notify(state: str) -> None:
    """Sends `state`, such as `READY`. It never blocks and never fails: a message that systemd does not take is
    lost, and so is at most one of the two that feed the watchdog in its time."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = "\0" + path[1:] if path.startswith("@") else path  # of Linux's abstract namespace
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto(state.encode(), address)


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
