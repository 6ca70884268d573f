"""The docstrings of everything that users import from the client describe each parameter and the result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from roomcast import client
from roomcast.client import decode, sse

MODULES = (client, sse, decode)


def functions() -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public functions, and the public methods and hand-written constructors of public classes."""
    for module in MODULES:
        for name in module.__all__:
            found = getattr(module, name)
            if inspect.isfunction(found):
                yield name, found
            elif inspect.isclass(found):
                for own, method in vars(found).items():
                    if inspect.isfunction(method) and (own == "__init__" or not own.startswith("_")):
                        yield f"{name}.{own}", method


# Users do not create the errors, nor the objects that the client returns.
NOT_FOR_USERS = ("EventSource.__init__", "Follower.__init__", "Refused.__init__", "TooMuch.__init__")
FUNCTIONS = {name: function for name, function in functions() if name.removeprefix("Async") not in NOT_FOR_USERS}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_parameter_and_the_result_are_described(name: str) -> None:
    function = FUNCTIONS[name]
    text = inspect.getdoc(function) or ""
    parameters = [parameter for parameter in inspect.signature(function).parameters if parameter != "self"]
    assert [parameter for parameter in parameters if f"    {parameter}: " not in text] == []
    if inspect.signature(function).return_annotation != "None":
        assert "Returns:\n" in text


def test_both_halves_are_among_them() -> None:
    assert {"Client.publish", "AsyncClient.publish", "connect", "aconnect", "Decoder.feed"} <= set(FUNCTIONS)
