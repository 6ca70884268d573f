"""Collections that cannot be created, and mistakes that the driver's view of the servers shows. No database."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from pymongo.errors import ConfigurationError, OperationFailure, ProtocolError
from pymongo.server_type import SERVER_TYPE
from pymongo.topology_description import TopologyDescription

from roomcast.log.mongodb.caps import MongoCaps
from roomcast.log.mongodb.diagnosis import from_probe, from_topology
from roomcast.log.mongodb.opening import Store
from roomcast.model.errors import LogUnusable
from roomcast.model.retention import Retention

NAME = "mongodb://db/chat"


@pytest.fixture
def store() -> Store:
    """A store that is never connected."""
    return Store("mongodb://127.0.0.1:1/x")


async def test_a_server_that_does_not_list_what_it_has_created_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object, **__: object) -> None:
        return None

    monkeypatch.setattr(store, "_options", nothing)
    monkeypatch.setattr(store.database, "create_collection", nothing)
    with pytest.raises(LogUnusable, match="it does not list the collection messages"):
        await store.prepare(Retention())


@pytest.mark.parametrize(("code", "is_raised"), [(48, False), (13, True)])
async def test_a_collection_that_another_process_has_created_meanwhile_is_used(
    store: Store, monkeypatch: pytest.MonkeyPatch, code: int, is_raised: bool
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise OperationFailure("no", code)

    monkeypatch.setattr(store.database, "create_collection", refuse)
    try:
        await store._create(Retention())
    except OperationFailure:
        assert is_raised
    else:
        assert not is_raised


async def test_the_caps_of_a_collection_that_is_gone_stay_as_they_were() -> None:
    found = [Retention(5, 256), None]

    async def caps() -> Retention | None:
        return found.pop(0)

    read = MongoCaps(cast(Store, SimpleNamespace(caps=caps)), Retention(5, 256), 0.0)
    await read.refresh()
    await read.refresh()
    assert (read.retention, found) == (Retention(5, 256), [])


@pytest.mark.parametrize(
    ("caps", "warns"),
    [
        (Retention(100, 5_120), False),
        (Retention(100, 5_000), False),
        (Retention(355, 5_120), True),
        (Retention(101, 5_120), True),
        (Retention(100, 5_256), True),
    ],
)
async def test_only_the_size_may_be_larger_than_configured_because_the_server_rounds_it(
    caps: Retention, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    MongoCaps(cast(Store, SimpleNamespace()), Retention(100, 5_000), 60.0).note(caps)
    assert bool(caplog.messages) == warns


def topology(*errors: Exception | None, set_name: str | None = None, known: bool = False) -> TopologyDescription:
    """The driver's view of servers, each with its error."""
    servers = {
        number: SimpleNamespace(error=error, address=("127.0.0.1", 1), server_type=SERVER_TYPE.Unknown)
        for number, error in enumerate(errors)
    }
    return cast(
        TopologyDescription,
        SimpleNamespace(server_descriptions=lambda: servers, replica_set_name=set_name, known_servers=known),
    )


@pytest.mark.parametrize(
    ("servers", "says"),
    [
        (topology(set_name="nosuch"), "names no member of a set called nosuch"),
        (topology(None, ConfigurationError("odd")), "cannot be used as it is written (odd): correct its options"),
        (topology(ProtocolError("odd")), "is not MongoDB (odd)"),
        (topology(ConfigurationError("odd"), known=True), ""),
        (topology(None, OSError("away")), ""),
    ],
)
def test_a_mistake_is_told_if_no_server_can_be_used(servers: TopologyDescription, says: str) -> None:
    found = from_topology(NAME, servers)
    assert bool(found) == bool(says)
    assert says in str(found)


@pytest.mark.parametrize("tls", [True, False])
async def test_a_server_that_the_driver_can_talk_to_is_not_probed(tls: bool) -> None:
    assert await from_probe(NAME, topology(None, known=True), tls=tls) is None
