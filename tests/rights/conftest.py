"""One server for each mode, and all the ways into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict

import pytest

from tests.rights.serving import ANONYMOUS, KEYS, Way, configured, issuers, over_asgi, two_ways

ORIGIN = "https://app.example"
"""The one that is named by `--allow-origin`."""
COOKIE = "__Host-roomcast"
"""The one that has a credential in it."""


@pytest.fixture(scope="session")
def _by_rights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Way]]:
    folder = tmp_path_factory.mktemp("rights")
    (folder / "asgi").mkdir()
    flags = [f"--config={configured(folder)}", f"--allow-origin={ORIGIN}", f"--cookie={COOKIE}"]
    flags += [f"--anonymous={grant}" for grant in ANONYMOUS]
    options = {
        "log": "memory:",
        "keys": [asdict(key) for key in KEYS],
        "issuers": issuers(folder / "asgi"),
        "secret_files": [str(folder / "secret")],
        "anonymous": ANONYMOUS,
        "allow_origin": [ORIGIN],
        "cookie": COOKIE,
    }
    with ExitStack() as stack:
        hosted = stack.enter_context(over_asgi(folder / "asgi", options))
        yield *stack.enter_context(two_ways(folder, *flags)), hosted


@pytest.fixture(scope="session")
def _open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Way]]:
    folder = tmp_path_factory.mktemp("open")
    (folder / "asgi").mkdir()
    with ExitStack() as stack:
        hosted = stack.enter_context(over_asgi(folder / "asgi", {"log": "memory:", "open": True}))
        yield *stack.enter_context(two_ways(folder, "--open")), hosted


@pytest.fixture(scope="session")
def _local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sequence[Way]]:
    with two_ways(tmp_path_factory.mktemp("local")) as ways:
        yield ways


@pytest.fixture(params=["fast", "h11", "asgi"])
def way(_by_rights: Sequence[Way], request: pytest.FixtureRequest) -> Way:
    """The ways into a server with rights."""
    return next(way for way in _by_rights if way.name == request.param)


@pytest.fixture(params=["fast", "h11", "asgi"])
def opened(_open: Sequence[Way], request: pytest.FixtureRequest) -> Way:
    """The ways into an open server."""
    return next(way for way in _open if way.name == request.param)


@pytest.fixture(params=["fast", "h11"])
def local(_local: Sequence[Way], request: pytest.FixtureRequest) -> Way:
    """The ways into a server without configured rights. An application has no such mode."""
    return next(way for way in _local if way.name == request.param)
