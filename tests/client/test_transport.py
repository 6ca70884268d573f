"""The client over transports of the test's own: errors that no server causes."""

from __future__ import annotations

import socket

import httpx
import pytest

from roomcast.client import Client
from roomcast.client.blocking.http import Http
from roomcast.client.http import HttpOptions
from roomcast.client.sse import Pause, connect
from tests.running import PATIENCE


def test_a_protocol_that_httpx_does_not_know_ends_a_stream_at_once() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.UnsupportedProtocol("gopher")

    def no_pause(pause: Pause) -> None:
        raise AssertionError(pause)

    with (
        connect("http://host", transport=httpx.MockTransport(refuse), on_pause=no_pause) as source,
        pytest.raises(httpx.UnsupportedProtocol),
    ):
        next(source)


def test_a_page_of_rooms_that_leads_to_itself_is_the_last_one() -> None:
    row = {"room": "r", "messages": 1, "newest": None, "newest_at": None, "followers": 0}
    link = {"Link": '</rooms?after=r>; rel="next"'}
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"rooms": [row]}, headers=link))
    with Client("http://host", transport=transport, max_answer=10_000) as client:
        assert len(client.rooms()) == 2


class Network:
    """httpcore's end of a connection."""

    def __init__(self, ours: socket.socket) -> None:
        self._socket = ours

    def get_extra_info(self, name: str) -> socket.socket:
        return self._socket


def test_a_connection_that_is_made_while_the_client_is_closed_is_hung_up() -> None:
    ours, theirs = socket.socketpair()
    theirs.settimeout(PATIENCE)
    http = Http(HttpOptions())
    http.close()
    http._connected(Network(ours), None)
    assert theirs.recv(1) == b""
    ours.close()
    theirs.close()
