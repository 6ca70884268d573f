"""Scenes, ears and clients, all of them ended with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.client.scene import CLIENTS, Ears, Scene

Listen = Callable[..., Ears]
MakeClient = Callable[..., Any]


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    yield scene
    scene.close()


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> str:
    """With `await` or without."""
    return str(request.param)


@pytest.fixture
def listen(kind: str, scene: Scene) -> Iterator[Listen]:
    """Follows the scene with the options of `connect`."""
    listening: list[Ears] = []

    def start(url: str = scene.url, **options: Any) -> Ears:
        listening.append(Ears(kind, url, **options))
        return listening[-1]

    yield start
    for ears in listening:
        ears.close()


@pytest.fixture
def client(kind: str) -> Iterator[MakeClient]:
    """Makes a `Client`, or an `AsyncClient` that is called like one."""
    made: list[Any] = []

    def make(*args: Any, **options: Any) -> Any:
        made.append(CLIENTS[kind](*args, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
