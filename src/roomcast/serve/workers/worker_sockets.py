"""The listening sockets of all workers. The supervisor keeps them open, so connections that wait for a dead worker
go to its successor."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence

from roomcast.serve.listen import Endpoint


class WorkerSockets:
    """Each worker's sockets. Several workers may have the same one, such as a socket file."""

    def __init__(self, endpoints: Mapping[int, Sequence[Endpoint]]) -> None:
        """`endpoints` are the ports and socket files, by worker number."""
        self._sockets = {number: _sockets(owned) for number, owned in endpoints.items()}

    def closers_for(self, process: int) -> list[Callable[[], None]]:
        """Functions that close the sockets which a process with this number does not use; called at its start."""
        own = self._sockets.get(process, ())
        return [one.close for others in self._sockets.values() for one in others if one not in own]

    def close(self, worker: int) -> None:
        """Closes the sockets of a worker that has no successor, except those that others use as well."""
        for one in self._sockets.pop(worker, ()):
            if not any(one in others for others in self._sockets.values()):
                one.close()


def _sockets(endpoints: Sequence[Endpoint]) -> Sequence[socket.socket]:
    return [one for endpoint in endpoints for one in endpoint.sockets]
