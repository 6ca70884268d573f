"""SIGHUP: reads the configuration again. All options that can change at run time change together, or none does."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from roomcast.model.errors import RoomcastError
from roomcast.model.settings import WRITTEN, Settings
from roomcast.serve.configuration import Configuration
from roomcast.serve.systemd import READY, reloading, tell

Commit = Callable[[], None]

logger = logging.getLogger("roomcast.server")


class Reloadable(NamedTuple):
    """Something that takes over new settings while the server runs."""

    what: str
    """Its name in the log: TLS files."""
    options: tuple[str, ...]
    """The options it follows; a difference in any other needs a restart."""
    prepare: Callable[[Settings], Commit]
    """Reads and checks the new settings, and changes nothing yet. It runs in a thread, may block, and raises
    `RoomcastError` if something is wrong. The returned function makes the change, on the loop, and must not
    fail."""


class Reload:
    """Reads the configuration again at each SIGHUP, and never ends the server."""

    def __init__(self, configuration: Configuration, things: Sequence[Reloadable] = ()) -> None:
        self._configuration = configuration
        self.things = list(things)
        """The parts of the server that follow the configuration; parts that open later are added."""
        self._running = configuration.settings
        """The settings in force."""

    async def run(self) -> None:
        """Runs until it is cancelled. Signals that come while the file is read cause one more reading."""
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
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # its default would kill a server that is draining

    async def reload(self) -> None:
        """Reads the configuration once, and logs the result in one line."""
        try:
            settings, commits = await asyncio.to_thread(self.prepare)
            for commit in commits:
                commit()
        except RoomcastError as error:
            logger.warning("the configuration stays as it was: %s", error.detail)
        except Exception:
            logger.exception("the configuration could not be read again, because of a bug in roomcast")
        else:
            logger.info("%s", self.taken_over(settings))

    def prepare(self) -> tuple[Settings, list[Commit]]:
        """The file's settings now, and the functions that make each part of the server follow them. Blocks.
        Changes nothing yet. Raises `RoomcastError` if something is wrong."""
        settings = self._configuration.read_again()
        return settings, [thing.prepare(settings) for thing in self.things]

    def taken_over(self, new: Settings) -> str:
        """Records that new settings are in force; returns the log line that says so."""
        follows = {name for thing in self.things for name in thing.options}
        self._running = replace(self._running, **{name: getattr(new, name) for name in follows})
        read = [*filter(None, [self._configuration.path]), *(thing.what for thing in self.things)]
        if not read:
            return "SIGHUP: there is nothing to read again; a file that --config names would be"
        waiting = [shown for name, shown in WRITTEN.items() if getattr(self._running, name) != getattr(new, name)]
        restart = f"; to change {', '.join(waiting)}, restart the server" if waiting else ""
        return f"read again: {', '.join(read)}{restart}"
