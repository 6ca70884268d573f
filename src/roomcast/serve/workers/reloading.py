"""SIGHUP for all processes of a server: new settings come into force at all of them, or at none.

Each process prepares the settings and answers. When all have accepted, all are told to apply them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from roomcast.model.errors import RoomcastError
from roomcast.model.settings import Settings
from roomcast.serve.reload import Change, Reload
from roomcast.serve.systemd import READY, notify, reloading
from roomcast.serve.workers.child import Child
from roomcast.serve.workers.orders import Apply, Forget, Prepare, Verdict

_PREPARE_SECONDS = 10.0
"""How long all processes may take to accept new settings."""
_numbers = count(1)

logger = logging.getLogger("roomcast.server")


@dataclass
class _PendingReload:
    """New settings that not all processes have accepted yet."""

    number: int
    settings: Settings
    changes: Sequence[Change]
    """The supervisor's own changes, for processes that it forks later."""
    missing: set[Child]
    """The processes that have not answered."""
    until: float
    """When the settings are refused for want of an answer, in monotonic seconds."""


class Reloading:
    """Reads the configuration again, and puts it in force once all processes have accepted it."""

    def __init__(self, reload: Reload, children: Mapping[int, Child], applied: Callable[[Settings], None]) -> None:
        """`children` are the running processes, and change as these do. `applied` is called with settings that
        have come into force."""
        self._reload = reload
        self._children = children
        self._applied = applied
        self._pending: _PendingReload | None = None
        self._requested = False

    @property
    def until(self) -> float | None:
        """When `turn` must be called, in monotonic seconds; None if nothing is pending."""
        return self._pending.until if self._pending else None

    def request(self) -> None:
        """Reads the configuration at the next turn. Further requests until then count as one."""
        self._requested = True

    def restart(self) -> None:
        """Starts over with pending settings: the process that is being started does not know them."""
        if self._pending:
            self._drop()
            self._requested = True

    def turn(self, now: float) -> None:
        """Does what is due at `now`, in monotonic seconds. Call it after each event."""
        if self._pending and not self._pending.missing:
            self._apply(self._pending)
        if self._pending and now >= self._pending.until:
            self._refuse(f"{', '.join(one.name for one in self._pending.missing)} did not answer, try again")
        # A process registers some of its parts only while it starts: it could not prepare these earlier.
        if self._requested and not self._pending and all(child.ready for child in self._children.values()):
            self._begin(now)

    def hear(self, child: Child, answer: Verdict) -> None:
        """Takes the `answer` of a `child` to `Prepare`: it has prepared the settings, or refuses them for all. An
        answer to an earlier `Prepare` is ignored."""
        if self._pending and answer.number == self._pending.number:
            if answer.refused:
                self._refuse(answer.refused)
            else:
                self._pending.missing.discard(child)

    def leave(self, child: Child) -> None:
        """Stops waiting for the answer of a `child` that has ended."""
        if self._pending:
            self._pending.missing.discard(child)

    def _begin(self, now: float) -> None:
        self._requested = False
        notify(reloading())
        try:
            settings, changes = self._reload.prepare()
        except RoomcastError as error:
            self._refuse(error.detail)
            return
        except Exception:  # a bug must not end the server
            logger.exception("the configuration could not be read again, and stays as it was")
            notify(READY)
            return
        children = set(self._children.values())
        self._pending = _PendingReload(next(_numbers), settings, changes, children, now + _PREPARE_SECONDS)
        for child in children:
            child.order(Prepare(self._pending.number, settings))

    def _apply(self, pending: _PendingReload) -> None:
        self._pending = None
        for child in self._children.values():
            child.order(Apply())
        for change in pending.changes:
            change()
        self._applied(pending.settings)
        logger.info("%s", self._reload.record_applied(pending.settings))
        notify(READY)

    def _refuse(self, why: str) -> None:
        self._drop()
        logger.warning("the configuration stays as it was: %s", why)
        notify(READY)

    def _drop(self) -> None:
        self._pending = None
        for child in self._children.values():
            child.order(Forget())
