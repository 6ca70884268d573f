"""Options from flags and variables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roomcast.auth.from_settings import rights_from
from roomcast.model.errors import BadOption
from roomcast.model.settings import Settings
from roomcast.serve.configuration import Configuration


def test_nothing_given_is_the_default() -> None:
    configuration = Configuration({}, {}, None)
    assert configuration.settings == configuration.read_again() == Settings()
    assert not configuration.is_given("port")


def test_the_variable_that_kubernetes_sets_for_a_service_of_our_name_is_ignored() -> None:
    configuration = Configuration({}, {"ROOMCAST_PORT": "tcp://10.0.0.1:8080"}, None)
    assert configuration.settings.port == Settings().port
    assert not configuration.is_given("port")


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


def test_the_rights_of_strangers_are_words_in_a_variable_or_a_repeated_flag() -> None:
    given = Configuration({}, {"ROOMCAST_ANONYMOUS": "read:public/* publish:a"}, None)
    assert given.settings.anonymous == ("read:public/*", "publish:a")
    given = Configuration({"anonymous": ("read:b", "read:c")}, {"ROOMCAST_ANONYMOUS": "read:*"}, None)
    assert given.settings.anonymous == ("read:b", "read:c")
    with pytest.raises(BadOption, match=r"--anonymous must be read:GRANT or publish:GRANT, .* not 'public/\*'"):
        Configuration({"anonymous": ("public/*",)}, {}, None)


def test_a_variable_names_one_secret_file_whose_path_may_have_spaces() -> None:
    given = Configuration({}, {"ROOMCAST_SECRET_FILE": "/my secrets/s"}, None)
    assert given.settings.secret_files == ("/my secrets/s",)


def test_a_secret_as_text_and_one_in_a_file_replace_each_other(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("secret_files = ['a', 'b']\n")
    path, text = str(tmp_path / "c.toml"), {"ROOMCAST_SECRET": "hunter2\x01"}

    def secrets(flags: dict[str, Any], variables: dict[str, str], path: str | None = None) -> tuple[object, ...]:
        settings = Configuration(flags, variables, path).settings
        assert "hunter2" not in repr(settings)
        return settings.secret, settings.secret_files

    assert secrets({}, {}, path) == (None, ("a", "b"))
    assert secrets({}, text, path) == ("hunter2\x01", ())
    assert secrets({"secret_files": ("f",)}, text, path) == (None, ("f",))
    assert secrets({}, {"ROOMCAST_SECRET_FILE": "v"}, path) == (None, ("v",))
    both = Configuration({}, {**text, "ROOMCAST_SECRET_FILE": "v"}, None).settings
    with pytest.raises(BadOption, match="a secret is given twice"):
        rights_from(both)


def test_no_value_for_origins_differs_from_an_empty_one() -> None:
    assert Configuration({}, {}, None).settings.allow_origin is None
    assert Configuration({}, {"ROOMCAST_ALLOW_ORIGIN": ""}, None).settings.allow_origin == ()
