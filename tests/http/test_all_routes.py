"""The groups of routes that a program may choose."""

from __future__ import annotations

import pytest

from roomcast.http.all_routes import GROUPS, ROUTES, routes_in
from roomcast.model.errors import BadOption


def test_the_groups_have_every_route_once() -> None:
    grouped = [pair for group in GROUPS.values() for pair in group]
    assert sorted(grouped) == sorted((method, path) for path, handlers in ROUTES.items() for method in handlers)


def test_only_the_routes_of_the_chosen_groups_are_served() -> None:
    assert {path: list(handlers) for path, handlers in routes_in(["follow", "publish"]).items()} == {
        "/messages": ["GET", "POST"],
        "/rooms/{room}": ["POST"],
    }


def test_an_unknown_group_is_refused_with_a_suggestion() -> None:
    with pytest.raises(BadOption, match="did you mean follow"):
        routes_in(["folow"])  # type: ignore[list-item]


@pytest.mark.parametrize("groups", ["follow", []])
def test_a_text_or_no_group_at_all_is_refused(groups: list[object]) -> None:
    with pytest.raises(BadOption, match="must be a list"):
        routes_in(groups)  # type: ignore[arg-type]
