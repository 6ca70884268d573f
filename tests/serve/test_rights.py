"""Rights that are read again at a SIGHUP."""

# ruff: noqa: ASYNC240 -- the tests themselves may touch a file on the loop

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from roomcast.auth.guard import Guard
from roomcast.model.errors import InvalidToken
from roomcast.serve.configuration import Configuration
from roomcast.serve.reload import Reload
from roomcast.serve.rights import reloadable_rights

_ROW = "[[key]]\nname = 'shop'\nsha256 = '{}'\nread = ['*']\n"
KEY = "rck_shop_x"


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "s").write_text("0123456789abcdefghijklmnopqrstuvwxyz\n")
    return tmp_path / "s"


async def test_keys_strangers_and_secrets_are_read_again_whole_or_not_at_all(
    tmp_path: Path, secret: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from roomcast.auth.keys import sha256

    caplog.set_level(logging.INFO, "roomcast.server")
    path = tmp_path / "c.toml"
    path.write_text(f"anonymous = {{ read = ['news'] }}\n{_ROW.format(sha256(KEY))}")
    configuration = Configuration({}, {}, str(path))
    guard = Guard.of(configuration.settings)
    reload = Reload(configuration, [reloadable_rights(guard)])

    path.write_text(f"secret_files = ['{secret}']\n{_ROW.format('0' * 64)}")
    await reload.reload()
    after = guard.rights
    assert after.secrets
    assert not after.anonymous.read
    with pytest.raises(InvalidToken):
        after.identify(KEY, 0)

    for mistake in ("metrics = 1\n", "sha = 1\n"):
        path.write_text(path.read_text() + mistake)
        await reload.reload()
    path.write_text(f"secret_files = ['{secret}', '{tmp_path / 'gone'}']\n")
    await reload.reload()
    secret.write_text("too short")
    path.write_text(f"secret_files = ['{secret}']\n")
    await reload.reload()
    assert guard.rights is after
    first, *others = caplog.messages
    assert first == f"read again: {path}, rights"
    assert all(line.startswith("the configuration stays as it was: ") for line in others)
    assert "has 9 bytes" in others[-1]
    assert "too short" not in others[-1]


async def test_rights_that_no_part_follows_need_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "roomcast.server")
    path = tmp_path / "c.toml"
    path.write_text("")
    reload = Reload(Configuration({}, {}, str(path)))
    path.write_text(f"open = true\n{_ROW.format('0' * 64)}")
    await reload.reload()
    assert caplog.messages == [f"read again: {path}; to change open, [[key]], restart the server"]


async def test_a_server_that_was_started_without_rights_keeps_none_and_says_that_it_needs_a_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "c.toml"
    path.write_text("")
    configuration = Configuration({}, {}, str(path))
    guard = Guard.of(configuration.settings)
    path.write_text(_ROW.format("0" * 64))
    await Reload(configuration, [reloadable_rights(guard)]).reload()
    assert not guard.checks_credentials
    assert "needs a restart" in caplog.text
