"""What is taken from flags and variables."""

from __future__ import annotations

import pytest

from roomcast.model.errors import BadOption
from roomcast.model.settings import Settings
from roomcast.serve.configuration import Configuration


def test_nothing_given_is_the_default() -> None:
    configuration = Configuration({}, {}, None)
    assert configuration.settings == configuration.read_again() == Settings()
    assert not configuration.chose("port")


def test_what_kubernetes_injects_for_a_service_of_our_name_is_no_port() -> None:
    configuration = Configuration({}, {"ROOMCAST_PORT": "tcp://10.0.0.1:8080"}, None)
    assert configuration.settings.port == Settings().port
    assert not configuration.chose("port")


@pytest.mark.parametrize(
    ("text", "value"), [("0", False), ("no", False), ("Off", False), ("1", True), ("true", True)]
)
def test_a_variable_switches_on_and_off(text: str, value: bool) -> None:
    assert Configuration({}, {"ROOMCAST_ACCESS_LOG": text}, None).settings.access_log is value


def test_a_variable_that_is_neither_is_refused() -> None:
    with pytest.raises(BadOption, match="ROOMCAST_ACCESS_LOG must be true or false, not 'maybe'"):
        Configuration({}, {"ROOMCAST_ACCESS_LOG": "maybe"}, None)


def test_a_bad_variable_does_no_harm_beside_a_flag() -> None:
    assert Configuration({"port": "0"}, {"ROOMCAST_PORT": "http"}, None).settings.port == 0
