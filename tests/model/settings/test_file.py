"""The configuration file: its values, and the one sentence about a mistake in it, with its line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roomcast.model.errors import BadOption
from roomcast.model.settings import OPTIONS, Settings
from roomcast.model.settings.file import load
from roomcast.model.settings.key import Key

KEY = f"[[key]]\nname = 'a'\nsha256 = '{'aa' * 32}'\nread = ['*']\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "roomcast.toml"


def test_every_option_can_stand_in_it_as_it_is_by_default(path: Path) -> None:
    def toml(value: object) -> str:
        return (
            str(value).lower()
            if isinstance(value, bool)
            else str(list(value) if isinstance(value, tuple) else repr(value))
        )

    defaults = {name: option.default for name, option in OPTIONS.items() if option.default is not None}
    path.write_text("".join(f"{name} = {toml(default)}\n" for name, default in defaults.items()))
    assert load(path) == defaults
    assert Settings(**load(path)) == Settings()


def test_sizes_and_times_are_numbers_or_have_a_unit(path: Path) -> None:
    path.write_text(
        '\ufeffmax_bytes = "5MB"\nmax_body = 70\nheartbeat = "1m"\nslow_after = 2\nallow_origin = []\n'
    )
    assert load(path) == {
        "max_bytes": 5_000_000,
        "max_body": 70,
        "heartbeat": 60.0,
        "slow_after": 2.0,
        "allow_origin": (),
    }


def issuer(number: int, names: str = "iss audience") -> str:
    """An issuer of five lines with the columns `names`; a blank line stands for one that is missing."""
    given = [f"{name} = 'x{number}'" if name in names else "" for name in ("iss", "audience")]
    return "\n".join(["[[issuer]]", *given, "jwks = 'https://x.example/jwks'", ""]) + "\n"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("port = 1\n\nmax_mesages = 3\n", 3, "'max_mesages' is not an option: did you mean max_messages?"),
        ("max-bytes = 3\n", 1, "did you mean max_bytes?"),
        ("ROOMCAST_MAX_BYTES = 3\n", 1, "did you mean max_bytes?"),
        ("xyz = 1\n", 1, "`roomcast serve --help` names them all"),
        ("# one\n[serve]\nport = 1\n", 2, "options stand at the top of the file, in no section"),
        ("[[keey]]\nname = 1\n", 1, "'keey' is not an option: did you mean key?"),
        ("port = 1\n[[key]]\nname = 1\n", 3, '[[key]] name must be text, not 1: write "1"'),
        ("[[key]]\n", 1, "[[key]] needs name"),
        ("key = 5\n", 1, "key must be rows: write [[key]] above each, not 5"),
        ("[key]\nname = 'a'\n", 1, "write [[key]] above each, not a table"),
        ("\nkey = [1]\n", 2, "[[key]] must be a table, not 1"),
        ("key = [\n{ name = 'A' }]\n", 1, "[[key]] name must be 1 to 32 of a-z, 0-9 and -, not 'A'"),
        (f"{KEY}{KEY.replace('aa', 'bb')}naem = 3\n", 9, "'naem' is not a column of [[key]]: did you mean name?"),
        (f"{KEY}{KEY.replace('aa', 'bb')}[key.user]\nx = 1\n", 9, "[[key]] user must be text, not a table"),
        (f"{KEY}user = ''\n", 5, "[[key]] user must be 1 to 128 characters"),
        (f"{KEY}publish = 'a'\n", 5, "[[key]] publish must be a list of texts, not 'a': write ['a']"),
        (f"{KEY}publish = [\n'a', '$b']\n", 5, "[[key]] publish must be a room, or a prefix that ends in *"),
        (f"{KEY}metrics = 'yes'\n", 5, "[[key]] metrics must be true or false"),
        (f"{KEY}xyz = 1\n", 5, "it has name, sha256, read, publish, user, metrics, admin"),
        (f"{KEY}port = 1\n", 5, "'port' is not a column of [[key]]"),
        (f"{KEY}\n{KEY}", 6, "'a' has the sha256 of another [[key]]"),
        (KEY.replace("['*']", "[]"), 1, "[[key]] may do nothing: give it read or publish"),
        (KEY.replace("aa", "rck_a_"), 3, "[[key]] sha256 must be 64 digits of lower-case hex"),
        (KEY.replace("aa", "AA"), 3, "[[key]] sha256 must be 64 digits of lower-case hex"),
        (issuer(1, "") + issuer(2), 1, "[[issuer]] needs iss and audience where there are several issuers"),
        (issuer(1) + issuer(2) + issuer(3, "iss"), 11, "[[issuer]] needs audience where"),
        (issuer(1) + issuer(1), 6, "'x1' is the iss of another [[issuer]]"),
        ("anonymous = 'read:*'\n", 1, "anonymous must be a list of texts, not 'read:*': write ['read:*']"),
        ("anonymous = { reed = [] }\n", 1, "publish, streams, publish_rate, publish_burst, not 'reed'"),
        ("anonymous = { read = '*' }\n", 1, "anonymous read must be a list of texts, not '*': write ['*']"),
        ("\n[anonymous]\nread = ['']\n", 2, "anonymous read must be a room, or a prefix that ends in *"),
        ("anonymous = ['*']\n", 1, "must be read:GRANT or publish:GRANT, such as read:public/*, or a limit"),
        ("anonymous = { streams = -1 }\n", 1, "anonymous streams must be a whole number from 0"),
        ("anonymous = ['publish_rate:often']\n", 1, "anonymous must be a rate, such as 20"),
        (f"{KEY}publish_rate = '5/w'\n", 5, "[[key]] publish_rate must be a rate, such as 20"),
        ("secret = 'x'\n", 1, "set ROOMCAST_SECRET, or name a file in secret_files"),
        ("secret_file = 'x'\n", 1, "did you mean secret_files?"),
        ("secret_files = 'x'\n", 1, "write ['x']"),
        ('port = "8080"\n', 1, "write it without quotes"),
        ("port = 70000\n", 1, "port must be a whole number from 0 to 65535, not 70000"),
        ("port = true\n", 1, "not true"),
        ("port = 8.5\n", 1, "not 8.5"),
        ("log = 5\n", 1, 'log must be text, not 5: write "5"'),
        ("log = ''\n", 1, "log must not be empty"),
        ('log = "memory:\\u0000"\n', 1, "no control characters"),
        ("log = { path = 1 }\n", 1, "not a table"),
        ("access_log = 1\n", 1, "access_log must be true or false, not 1"),
        ('access_log = "yes"\n', 1, "access_log must be true or false"),
        ('synchronous = "fast"\n', 1, "must be full or normal or off, not 'fast'"),
        ("synchronous = [1]\n", 1, "not a list"),
        ("max_bytes = 1.5\n", 1, "must be a size in bytes"),
        ("max_bytes = false\n", 1, "must be a size in bytes"),
        ("max_bytes = 0\n", 1, "must be a size from 1 to"),
        (f"max_bytes = 0x{'f' * 6000}\n", 1, "not a number so large"),
        ('max_bytes = "5M"\n', 1, "did you mean 5MB or 5MiB?"),
        ("heartbeat = nan\n", 1, "must be a time in seconds"),
        (f"heartbeat = 0x{'f' * 6000}\n", 1, "1h30m or 7d, not a number so large"),
        (f"publish_rate = 0x{'f' * 6000}\n", 1, "100/m or 1000/h, not a number so large"),
        ("anonymous = { publish_rate = 0.00001 }\n", 1, "must be a rate from 1/d to 1000000/s, not 1e-05"),
        ("heartbeat = 07:30:00\n", 1, "not a date or time"),
        ('heartbeat = "2h"\n', 1, "must be a time from 0.05 to 3600 seconds"),
        ('\nallow_origin = "https://x.example"\n', 2, "write ['https://x.example']"),
        ("allow_origin = [1]\n", 1, "must be a list of texts"),
        ('allow_origin = [\n"x.example",\n]\n', 1, "did you mean https://x.example?"),
        ("port = 1\nlog = memory:\n", 2, "this is not TOML (Invalid value): text stands in quotes"),
        ("port = 1\nmax_bytes = 5MB\n", 2, "text stands in quotes"),
        ("port = 1\nport = 2\n", 2, "the same name stands in it twice"),
        ("port = 1\nlog = '''\n", 2, "this is not TOML"),
        (f"port = {'9' * 6000}\n", 1, "this is not TOML"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_do(path: Path, text: str, line: int, words: str) -> None:
    path.write_text(text)
    with pytest.raises(BadOption) as raised:
        load(path)
    assert raised.value.line == line
    assert raised.value.detail.startswith(f"{path}, line {line}: ")
    assert words in raised.value.detail
    assert len(raised.value.detail) < 400
    assert "rck_" not in raised.value.detail  # a key that was pasted into the wrong line


def test_keys_are_rows_and_anonymous_grants_a_table(path: Path) -> None:
    path.write_text(
        "anonymous = { read = ['public/*', 'news'], publish = ['guests'] }\nsecret_files = ['new', 'o ld']\n"
        f"{KEY}[[key]]\nname = 'a'\nsha256 = '{'0' * 64}'\n"
        "publish = ['b']\nuser = 'bot'\nmetrics = true\nadmin = true\n"
    )
    assert load(path) == {
        "anonymous": ("read:public/*", "read:news", "publish:guests"),
        "secret_files": ("new", "o ld"),
        "keys": (
            Key(name="a", sha256="aa" * 32, read=("*",)),
            Key(name="a", sha256="0" * 64, publish=("b",), user="bot", metrics=True, admin=True),
        ),
    }


def test_bytes_that_are_not_utf_8_are_refused_with_their_line(path: Path) -> None:
    path.write_bytes(b'port = 1\nlog = "\xff"\n')
    with pytest.raises(BadOption, match=r"line 2: this is not UTF-8"):
        load(path)


def test_brackets_without_end_are_refused(path: Path) -> None:
    path.write_text(f"port = {'[' * 100_000}")
    with pytest.raises(BadOption, match=r"nested too deeply|not TOML"):
        load(path)


def test_a_path_that_is_not_a_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(BadOption, match="is not a regular file"):
            load(name)
    with pytest.raises(BadOption, match="cannot be read"):
        load(tmp_path / "missing.toml")
