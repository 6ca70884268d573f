"""SIGHUP: reads the configuration again. All options that can change at run time change, or none does."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from roomcast.model.errors import RoomcastError
from roomcast.model.settings import NAME_IN_FILE, Settings
from roomcast.serve.configuration import Configuration
from roomcast.serve.systemd import READY, reloading, tell

Change = Callable[[], None]
"""Puts settings that were read and checked into force. Must not fail."""

logger = logging.getLogger("roomcast.server")


class Reloadable(NamedTuple):
    """A part of the server that follows new settings while it runs."""

    what: str
    """Its name in the log, such as `the TLS files`."""
    options: tuple[str, ...]
    """The options that it follows. All others need a restart."""
    prepare: Callable[[Settings], Change]
    """Reads and checks the new settings, and changes nothing yet. Runs in a thread, so it may block. Raises
    `RoomcastError` if something is wrong. The returned `Change` is called on the loop."""


class Reload:
    """Reads the configuration again at each SIGHUP, and never ends the server."""

    def __init__(self, configuration: Configuration, parts: Sequence[Reloadable] = ()) -> None:
        self._configuration = configuration
        self.parts = list(parts)
        """The parts of the server that follow the configuration; parts that open later are added."""
        self._running = configuration.settings
        """The settings in force."""

    async def run(self) -> None:
        """Runs until it is cancelled. Signals that arrive during a reload cause one more reload."""
        asked, loop = asyncio.Event(), asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, asked.set)
        try:
            while await asked.wait():
                asked.clear()
                await tell(reloading())
                await self.reload()
                await tell(READY)
        finally:
            loop.remove_signal_handler(signal.SIGHUP)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # by default it would kill a draining server

    async def reload(self) -> None:
        """Reads the configuration once, and logs the result in one line."""
        try:
            settings, changes = await asyncio.to_thread(self.prepare)
            for change in changes:
                change()
        except RoomcastError as error:
            logger.warning("the configuration stays as it was: %s", error.detail)
        except Exception:
            logger.exception("the configuration could not be read again, and stays as it was")
        else:
            logger.info("%s", self.record_applied(settings))

    def prepare(self) -> tuple[Settings, list[Change]]:
        """Returns the settings that the file has now, and the changes that put them into force. Blocks, and
        changes nothing yet. Raises `RoomcastError` if something is wrong."""
        settings = self._configuration.read_again()
        return settings, [part.prepare(settings) for part in self.parts]

    def record_applied(self, new: Settings) -> str:
        """Records that new settings are in force; returns the log line that says so."""
        follows = {name for part in self.parts for name in part.options}
        self._running = replace(self._running, **{name: getattr(new, name) for name in follows})
        read = [*filter(None, [self._configuration.path]), *(part.what for part in self.parts)]
        if not read:
            return "SIGHUP: there is nothing to read again; start the server with --config FILE for that"
        waiting = [
            shown for name, shown in NAME_IN_FILE.items() if getattr(self._running, name) != getattr(new, name)
        ]
        restart = f"; to change {', '.join(waiting)}, restart the server" if waiting else ""
        return f"read again: {', '.join(read)}{restart}"
