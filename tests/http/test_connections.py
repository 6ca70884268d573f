"""How many connections there may be, and which of them go."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from roomcast.http.connections import ADDRESS, FILES, Connections
from roomcast.model.settings import Settings


class Connection:
    """A socket, and the protocol of its requests."""

    def __init__(self, peer: object = "") -> None:
        self.aborted = False
        self._peer = peer

    def abort(self) -> None:
        self.aborted = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        assert name == "peername"
        return self._peer

    def expire(self) -> None: ...

    def shutdown(self) -> None: ...


class LimitColumns(Settings):
    """Takes four connections."""

    connections_limit = 4


def entered(connections: Connections, *peers: object) -> list[Connection]:
    made = [Connection(peer) for peer in peers]
    for one in made:
        connections.enter(one, one)
    return made


@pytest.fixture
def closed() -> Counter[str]:
    return Counter()


@pytest.fixture
def connections(closed: Counter[str]) -> Connections:
    return Connections(LimitColumns(), closed)


def aborted(connections: list[Connection]) -> list[int]:
    return [number for number, one in enumerate(connections) if one.aborted]


def test_the_connection_that_was_silent_longest_is_closed_for_a_new_one(
    connections: Connections, closed: Counter[str]
) -> None:
    made = entered(connections, *range(6))
    assert aborted(made) == [0, 1]
    assert (connections.open, closed[FILES]) == (4, 2)


def test_silent_connections_are_closed_first_while_they_are_the_majority(connections: Connections) -> None:
    made = entered(connections, *range(4))
    for number in (1, 0):
        connections.mark_busy(made[number])
        connections.mark_waiting(made[number])
    made += entered(connections, 4)
    assert aborted(made) == [2]
    connections.mark_busy(made[3])
    connections.mark_waiting(made[3])
    made += entered(connections, 5)
    assert aborted(made) == [1, 2]


def test_a_connection_being_served_is_not_closed_for_others(connections: Connections) -> None:
    made = entered(connections, *range(4))
    for one in made:
        connections.mark_busy(one)
    made += entered(connections, 4)
    assert aborted(made) == [4]


def test_a_stream_counts_and_is_not_closed_for_others(connections: Connections) -> None:
    made = entered(connections, *range(4))
    ends = [connections.follow(one) for one in made]
    made += entered(connections, 4)
    assert aborted(made) == [4]
    ends[0]()
    made += entered(connections, 5)
    assert aborted(made) == [4]


def test_a_connection_closed_for_others_stays_closed(connections: Connections) -> None:
    made = entered(connections, *range(5))
    connections.mark_waiting(made[0])
    connections.hand_over(made[0], made[0])
    connections.follow(made[0])()
    connections.leave(made[0])
    assert connections.open == 4
    assert len(connections.everyone()) == 4


def test_closed_connections_are_logged_once_a_minute(
    connections: Connections, caplog: pytest.LogCaptureFixture
) -> None:
    entered(connections, *range(5))
    for second in range(0, 200, 5):
        connections.look(float(second))
        if second < 100:
            entered(connections, 1)
    said = [record.getMessage() for record in caplog.records]
    assert [text.split()[1] for text in said] == ["1", "12", "8"]
    assert all("may use 4 files for connections" in text for text in said)


def test_a_following_connection_still_counts_for_its_address(closed: Counter[str]) -> None:
    connections = Connections(Settings(max_connections_per_address=2, trusted_proxy=("192.0.2.1",)), closed)
    made = entered(connections, ("10.0.0.1", 1), ("10.0.0.1", 2), ("10.0.0.1", 3), ("10.0.0.2", 1))
    assert (aborted(made), closed[ADDRESS]) == ([2], 1)
    end = connections.follow(made[0])
    assert aborted(entered(connections, ("10.0.0.1", 4))) == [0]
    end()
    assert aborted(entered(connections, ("10.0.0.1", 5), ("10.0.0.1", 6))) == [1]
    connections.leave(made[1])
    assert aborted(entered(connections, ("10.0.0.1", 7))) == []


def test_neither_a_trusted_proxy_nor_a_socket_file_is_counted(closed: Counter[str]) -> None:
    connections = Connections(Settings(max_connections_per_address=1, trusted_proxy=("192.0.2.0/24",)), closed)
    assert aborted(entered(connections, *[("192.0.2.7", number) for number in range(5)])) == []
    assert aborted(entered(connections, *[""] * 5)) == []
    assert aborted(entered(connections, *[None] * 5)) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8::1", "2001:db8::2:3:4:5", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
    ],
)
def test_the_connections_of_one_client_are_counted_together(
    closed: Counter[str], one: str, other: str, same: bool
) -> None:
    connections = Connections(Settings(max_connections_per_address=1, trusted_proxy=()), closed)
    assert aborted(entered(connections, (one, 1), (other, 2))) == ([1] if same else [])


def test_an_address_without_a_connection_is_forgotten(closed: Counter[str]) -> None:
    connections = Connections(Settings(max_connections_per_address=2, trusted_proxy=()), closed)
    made = entered(connections, ("10.0.0.1", 1), ("10.0.0.1", 2))
    for one in made:
        connections.leave(one)
    assert not connections.addresses
