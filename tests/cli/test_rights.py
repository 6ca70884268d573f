"""`roomcast key`, `roomcast rights check`, `roomcast ticket`, and the credential that all commands send."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomcast.auth.keys import grantor_of, sha256
from roomcast.auth.secrets import Secrets
from roomcast.auth.tickets import seal
from roomcast.model.settings.key import Key
from tests.cli.shell import TO_THE_END, run
from tests.client.scripted import ScriptedServer, aside

KEY, OTHER = "rck_shop_one", "rck_wiki_two"
ROWS = f"""anonymous = {{ read = ["public/*"] }}
[[key]]
name = "shop"
sha256 = "{sha256(KEY)}"
read = ["*"]
publish = ["orders", "team/*"]
[[key]]
name = "wiki"
sha256 = "{sha256(OTHER)}"
read = ["wiki/*"]
metrics = true
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "roomcast.toml").write_text(ROWS)
    return tmp_path / "roomcast.toml"


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    scripted = ScriptedServer()
    yield scripted
    scripted.close()


def test_key_prints_the_key_on_stdout_and_a_valid_entry_on_stderr(tmp_path: Path) -> None:
    made = run("key", "my-shop")
    key = made.stdout.removesuffix("\n")
    assert made.returncode == 0
    assert re.fullmatch(r"rck_my-shop_[A-Za-z0-9_-]{43}", key)
    [row] = tomllib.loads(made.stderr)["key"]
    assert row == {"name": "my-shop", "sha256": sha256(key), "read": ["*"], "publish": ["*"]}
    assert key not in made.stderr
    (tmp_path / "roomcast.toml").write_text(made.stderr)
    checked = run(
        "rights", "check", f"--config={tmp_path / 'roomcast.toml'}", "--as=-", "--read=a", input=key + "\n"
    )
    assert checked.returncode == 0, checked.stdout


def test_a_name_that_no_key_can_have_is_status_2() -> None:
    made = run("key", "My Shop")
    assert (made.returncode, made.stdout) == (2, "")
    assert "must be 1 to 32 of a-z, 0-9 and -" in made.stderr


@pytest.mark.parametrize(
    ("asked", "status", "words"),
    [
        (["--read=public/a"], 0, "line 1: somebody without a credential may read 'public/*'"),
        (["--read=a"], 1, "refused: PATH, line 1: somebody without a credential may read 'public/*'"),
        (["--publish=public/a"], 1, "line 1: somebody without a credential may publish nothing"),
        (["--as", KEY, "--read=a"], 0, "allowed: PATH, line 5: [[key]] shop may read '*'"),
        (["--as", KEY, "--publish=team/7"], 0, "line 6: [[key]] shop may publish 'team/*'"),
        (["--as", KEY, "--publish=a"], 1, "line 6: [[key]] shop may publish 'orders', 'team/*'"),
        (["--as", OTHER, "--read=wiki/a"], 0, "line 10: [[key]] wiki may read 'wiki/*'"),
        (["--as", OTHER, "--publish=wiki/a"], 1, "line 7: [[key]] wiki may publish nothing"),
        (["--as", OTHER], 0, "line 7: [[key]] wiki may read 'wiki/*'; publish nothing, metrics"),
        (["--as", "rck_shop_three", "--read=public/a"], 1, "refused: not valid: unknown key"),
        (["--as", "eyJh.e30.c2ln", "--read=public/a"], 1, "tokens are not accepted"),
    ],
)
def test_a_question_about_a_room_is_answered_with_the_line_that_decides(
    config: Path, asked: list[str], status: int, words: str
) -> None:
    done = run("rights", "check", f"--config={config}", *asked)
    assert done.returncode == status, done.stderr
    assert words.replace("PATH", str(config)) in done.stdout
    assert done.stdout.startswith(("allowed: ", "refused: ") if len(asked) != 2 or asked[0] != "--as" else "")
    assert not done.stderr


def test_without_a_room_everybodys_rights_are_listed(config: Path) -> None:
    done = run("rights", "check", ROOMCAST_CONFIG=str(config))
    assert done.returncode == 0
    assert [line.partition(", line ")[2][:2] for line in done.stdout.splitlines()] == ["1:", "2:", "7:", ""]


def test_a_ticket_is_judged_by_its_rooms_and_by_whether_its_key_is_configured(
    config: Path, tmp_path: Path
) -> None:
    (tmp_path / "s").write_text("0123456789abcdefghijklmnopqrstuvwxyz")
    by = grantor_of(Key(name="shop", sha256=sha256(KEY), read=("*",)))
    text = seal(Secrets.read([str(tmp_path / "s")]), by, rooms=["a*"], now=2e9, seconds=60)
    config.write_text(f"secret_files = ['{tmp_path / 's'}']\n" + ROWS)
    late = run("rights", "check", f"--config={config}", "--as", text, "--read=a*")
    assert (late.returncode, late.stdout) == (1, "refused: not valid: bad ticket: issued in the future\n")


def test_rights_check_reads_variables(config: Path) -> None:
    done = run("rights", "check", f"--config={config}", "--read=news", ROOMCAST_ANONYMOUS="read:news")
    assert (done.returncode, done.stdout) == (
        0,
        "allowed: ROOMCAST_ANONYMOUS: somebody without a credential may read 'news'\n",
    )
    assert run("rights", "check", "--publish=a", ROOMCAST_OPEN="1").stdout.startswith(
        "allowed: the server is open"
    )
    assert "no rights are configured" in run("rights", "check", "--publish=a").stdout


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("reed = ['x']\n", "line 12: 'reed' is not a column of [[key]]: did you mean read?"),
        ("[x]\n", "line 12: 'x' is not an option"),
    ],
)
def test_a_faulty_file_is_status_2_and_one_line(config: Path, more: str, words: str) -> None:
    config.write_text(ROWS + more)
    done = run("rights", "check", f"--config={config}", "--read=public/a")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


def test_a_weak_secret_is_wrong_as_well() -> None:
    done = run("rights", "check", ROOMCAST_SECRET="!ChangeMe!")
    assert done.returncode == 2
    assert done.stderr.startswith("roomcast: the secret in ROOMCAST_SECRET is an example secret")


def test_two_questions_at_once_and_no_room_are_status_2(config: Path) -> None:
    for asked in (["--read=a", "--publish=a"], ["--read="], ["--read=$x"]):
        assert run("rights", "check", f"--config={config}", *asked).returncode == 2


def test_a_ticket_is_asked_for_with_the_token_and_printed_alone(scripted: ScriptedServer) -> None:
    rooms = ["--room=user/42", "--room=news", "--prefix=team/7/", "--publish=chat/7"]
    url = scripted.url.removesuffix("/events")
    running = aside(run, "ticket", *rooms, "--sub=42", "--user=u42", "--for=15m", url=url, ROOMCAST_TOKEN=KEY)
    asked = scripted.next()
    assert (asked.method, asked.target) == ("POST", "/tickets")
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(asked.body) == {
        "rooms": ["user/42", "news"],
        "prefixes": ["team/7/"],
        "publish": ["chat/7"],
        "sub": "42",
        "user": "u42",
        "seconds": 900,
    }
    answer = {"ticket": "rct1_x", "url": "/messages?ticket=rct1_x", "opens_in": 60, "ends_in": 900}
    asked.answer("201 Created", "Content-Type: application/json", body=json.dumps(answer).encode())
    done = running.result(TO_THE_END)
    assert (done.returncode, done.stdout, done.stderr) == (0, "rct1_x\n", "")


def test_an_answer_that_is_not_a_ticket_is_not_shown(scripted: ScriptedServer) -> None:
    running = aside(run, "ticket", "--room=a", url=scripted.url.removesuffix("/events"))
    scripted.next().answer("201 Created", "Content-Type: application/json", body=b'{"tiket": "rct1_x"}')
    done = running.result(TO_THE_END)
    assert (done.returncode, done.stdout) == (1, "")
    assert "rct1_x" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--for=15m"], ["--room=a", "--for=soon"]])
def test_a_ticket_for_nothing_or_for_no_time_is_not_asked_for(arguments: list[str]) -> None:
    done = run("ticket", *arguments, url="http://localhost:1")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_header_of_the_same_name_overrides_the_token(scripted: ScriptedServer) -> None:
    url = scripted.url.removesuffix("/events")
    running = aside(run, "rooms", "--header=authorization: Basic eDp5", url=url, ROOMCAST_TOKEN=KEY)
    asked = scripted.next()
    assert asked.headers["authorization"] == "Basic eDp5"
    asked.answer("403 Forbidden")
    running.result(TO_THE_END)


def test_a_malformed_token_is_refused_and_not_shown() -> None:
    done = run("rooms", url="http://localhost:1", ROOMCAST_TOKEN="hunter2 and\x07more")
    assert done.returncode == 2
    assert "ROOMCAST_TOKEN" in done.stderr
    assert "hunter2" not in done.stderr
