"""A log process and its workers, all in one process, connected by sockets."""

from __future__ import annotations

import socket

from roomcast.log.base import Log
from roomcast.log.remote.link import Link
from roomcast.log.remote.log import RemoteLog
from roomcast.log.remote.server import LogServer
from tests.log.steps import until


class Workers:
    """A log process and any number of workers, all in this process."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.server = LogServer(log)
        self.links: list[Link] = []

    async def start(self) -> RemoteLog:
        link = Link()
        worker = RemoteLog(link)
        self.links.append(link)
        await self.connect(link, len(self.links))
        return await worker.opened()

    async def connect(self, link: Link, number: int) -> None:
        ours, theirs = socket.socketpair()
        await self.server.connect(number, theirs)
        await link.connect(ours)

    async def cut(self) -> None:
        """The log process ends, and another one takes its place."""
        self.server.close()
        self.server = LogServer(self.log)
        await until(self._are_cut)

    async def _are_cut(self) -> bool:
        return not any(link.is_connected for link in self.links)
