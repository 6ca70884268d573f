"""The command line of the server: its output, its errors, and its end."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomcast.model.settings import OPTIONS
from tests.certificate import connect
from tests.conftest import Serve
from tests.observer import Observer
from tests.raw import request
from tests.running import PATIENCE, Running, wait_for

ROOMCAST = [sys.executable, "-m", "roomcast"]


def run(*arguments: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ROOMCAST, *arguments],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def refused(*arguments: str, status: int = 1, cwd: Path | None = None, **env: str) -> str:
    """The error of a start that fails: one line, no traceback."""
    answer = run("serve", "--port=0", "--page-port=0", *arguments, cwd=cwd, **env)
    assert answer.returncode == status, answer.stderr
    assert "Traceback" not in answer.stderr
    if status == 1:
        assert answer.stderr.startswith("roomcast: ")
        assert answer.stderr.count("\n") == 1, answer.stderr
    return answer.stderr


def test_the_version_and_the_help() -> None:
    assert re.fullmatch(r"roomcast \d+\.\d+\.\d+\n", run("--version").stdout)
    text = run("serve", "--help").stdout
    for option in OPTIONS.values():
        assert option.flag in text
    for group in {option.group for option in OPTIONS.values()}:
        assert f"\n{group}:" in text
    assert "[default: 10000" in text


@pytest.mark.parametrize(
    "argument", ["--minutes=0", "--followers=0", "--header=no colon", "--header=a:\x1b", "--no-such"]
)
def test_a_bad_option_of_torture_is_status_2(argument: str) -> None:
    answer = run("torture", "http://localhost:1", argument)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert "Traceback" not in answer.stderr


def test_the_banner_has_addresses_and_rights_in_six_lines(serve: Serve) -> None:
    server = serve()
    lines = server.said().splitlines()[:6]
    assert lines[0].startswith("roomcast ")
    for line, beginning, rest in zip(
        lines[1:],
        ("post ", "follow ", "look ", "rights ", "log "),
        (
            *("/messages", "/messages?room=developers", "/?room=developers"),
            *("this machine alone reads and publishes, every room", "0 of 10000 messages, 0 of 5000000 bytes"),
        ),
        strict=True,
    ):
        assert line.strip().startswith(beginning)
        assert line.endswith(rest)


def test_localhost_is_both_loopback_addresses_and_one_number(serve: Serve) -> None:
    server = serve()
    with socket.create_connection(("127.0.0.1", server.port)):
        pass
    if socket.has_ipv6 and Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text():
        with socket.create_connection(("::1", server.port)):
            pass


def test_both_ports_serve_the_same_routes(serve: Serve) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = serve(f"--page-port={port}")
    assert server.page_port == port
    stored = server.publish("hello")
    with Observer(port, "/messages?room=developers") as follower:
        assert follower.next().json == stored


def test_a_taken_port_is_named_in_one_sentence(taken: int) -> None:
    answer = run("serve", f"--port={taken}", "--page-port=0", "--log=memory:")
    assert answer.returncode == 1
    assert answer.stderr.count("\n") == 1
    assert f"port {taken}" in answer.stderr
    assert answer.stderr.endswith("choose another port with --port\n")


def test_too_low_a_limit_of_open_files_is_an_error_at_the_start(tmp_path: Path) -> None:
    command = ["sh", "-c", 'ulimit -n 21 && exec "$@"', "sh", *ROOMCAST, "serve", "--port=0", "--page-port=0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "only 21 files may be open" in done.stderr


def test_a_chosen_page_port_that_is_taken_is_refused(taken: int) -> None:
    answer = run("serve", "--port=0", f"--page-port={taken}", "--log=memory:")
    assert answer.returncode == 1
    assert str(taken) in answer.stderr
    assert answer.stderr.endswith("choose another port with --page-port\n")


def test_a_taken_default_page_port_is_only_a_warning(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            other.bind(("127.0.0.1", 3000))
            other.listen()
        except OSError:
            pass  # another program has it, which serves as well
        server = Running([*ROOMCAST, "serve", "--port=0", "--log=memory:"], tmp_path)
        try:
            match = server.wait_until_it_says(r"look +http://\S+?:(\d+)/")
            assert "port 3000" in server.said()
            server.port = int(match[1])
            assert server.get("/?room=developers").status_code == 200
        finally:
            server.kill()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--log=redis://x"], ["sqlite:", "memory:", "mongodb://"]),
        (["--log=sqlite:"], ["sqlite:PATH"]),
        (["--log=sqlite:no/such/folder/x.db"], ["no/such/folder"]),
        (["--host=no.such.host.invalid"], ["no.such.host.invalid"]),
    ],
)
def test_an_impossible_start_is_reported_in_one_sentence(
    arguments: list[str], words: list[str], tmp_path: Path
) -> None:
    said = refused(*arguments, cwd=tmp_path)
    assert all(word in said for word in words), said


@pytest.mark.parametrize(
    "argument",
    [
        "--port=70000",
        "--max-messages=0",
        "--max-messages=many",
        "--heartbeat=nan",
        "--log-format=xml",
        "--no-such",
        "extra",
    ],
)
def test_a_bad_option_is_status_2(argument: str) -> None:
    assert refused(argument, status=2)


def test_a_log_of_another_running_server_is_refused(serve: Serve) -> None:
    server = serve("--log=sqlite:one.db")
    assert "one.db" in refused("--log=sqlite:one.db", cwd=server.folder)
    assert server.get("/readyz").status_code == 200


def test_a_log_with_a_damaged_page_is_refused_and_not_waited_for(serve: Serve) -> None:
    server = serve("--log=sqlite:test.db", "--max-bytes=50000000")
    server.post([{"room": "developers", "text": "x" * 300}] * 1000)
    assert server.terminate() == 0
    with (server.folder / "test.db").open("r+b") as file:
        file.seek(4096 * 60)
        file.write(b"\xde\xad" * 2048)
    assert "damaged" in refused("--log=sqlite:test.db", cwd=server.folder)


def test_one_port_cannot_be_both() -> None:
    answer = run("serve", "--port=8123", "--page-port=8123", "--log=memory:")
    assert answer.returncode == 1
    assert "--page-port" in answer.stderr
    assert answer.stderr.count("\n") == 1


def test_each_option_is_a_variable_and_the_flag_wins(serve: Serve) -> None:
    env = {"ROOMCAST_MAX_MESSAGES": "7", "ROOMCAST_LOG": "memory:", "ROOMCAST_MAX_BYTES": "1"}
    server = serve("--max-bytes=1000", env=env)
    assert "0 of 7 messages, 0 of 1000 bytes" in server.said()
    assert OPTIONS["page_port"].variable == "ROOMCAST_PAGE_PORT"


def test_a_bad_value_is_reported_with_its_variable_or_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOMCAST_MAX_BYTES", "much")
    bad_variable = run("serve")
    bad_option = run("serve", "--max-bytes=much")
    assert (bad_variable.returncode, bad_option.returncode) == (2, 2)
    assert bad_variable.stderr.startswith("roomcast: ROOMCAST_MAX_BYTES must be a size")
    assert bad_option.stderr.startswith("roomcast: --max-bytes must be a size")


def test_a_flag_overrides_a_variable_which_overrides_the_file(serve: Serve, tmp_path: Path) -> None:
    config = tmp_path / "roomcast.toml"
    config.write_text('max_messages = 7\nmax_bytes = 70\nheartbeat = "2m"\nlog = "nowhere:"\n')
    env = {"ROOMCAST_MAX_BYTES": "5kB", "ROOMCAST_LOG": "nowhere:", "ROOMCAST_CONFIG": "no.toml"}
    server = serve("--log=memory:", f"--config={config}", env=env)
    assert "0 of 7 messages, 0 of 5000 bytes" in server.said()
    assert "ROOMCAST_CONFIG" not in server.said()


def test_the_file_may_be_named_by_a_variable_and_an_empty_one_names_none(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "roomcast.toml").write_text("max_messages = 7\n")
    assert "0 of 7 messages" in serve("--log=memory:", env={"ROOMCAST_CONFIG": "roomcast.toml"}).said()
    empty = {"ROOMCAST_CONFIG": "", "ROOMCAST_MAX_MESSAGES": "", "ROOMCAST_ACCESS_LOG": ""}
    assert "0 of 10000 messages" in serve("--log=memory:", env=empty).said()


@pytest.mark.parametrize("wrong", ["max_mesages = 7", "max_messages = '7'", "max_messages = 7MB", "[serve]"])
def test_a_mistake_in_the_file_is_status_2_and_one_line_that_names_its_line(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "roomcast.toml").write_text(f"port = 0\n{wrong}\n")
    said = refused("--config=roomcast.toml", status=2, cwd=tmp_path)
    assert said.startswith("roomcast: roomcast.toml, line 2: ")
    assert said.count("\n") == 1
    assert "no.toml" in refused("--config=no.toml", status=2, cwd=tmp_path)


def test_a_page_port_of_the_file_is_a_chosen_one(taken: int, tmp_path: Path) -> None:
    (tmp_path / "roomcast.toml").write_text(f"page_port = {taken}\n")
    answer = run("serve", "--port=0", "--log=memory:", "--config=roomcast.toml", cwd=tmp_path)
    assert answer.returncode == 1
    assert "--page-port" in answer.stderr


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("port", "70000", "must be a whole number from 0 to 65535, not 70000"),
        ("port", "http", "must be a whole number from 0 to 65535, not 'http'"),
        ("max_messages", "0", "must be a whole number from 1 to"),
        ("max_body", "64k", "did you mean 64KB or 64KiB?"),
        ("max_bytes", "0MB", "must be a size from 1 to"),
        ("heartbeat", "nan", "must be a time in seconds"),
        ("heartbeat", "2h", "must be a time from 0.05 to 3600 seconds, not '2h'"),
        ("slow_after", "10M", "did you mean 10m?"),
        ("log_format", "xml", "must be text or json, not 'xml'"),
        ("allow_origin", "example.com", "did you mean https://example.com?"),
    ],
)
def test_a_bad_value_has_the_same_error_in_a_flag_a_variable_and_the_file(
    option: str, value: str, words: str
) -> None:
    flag, variable = OPTIONS[option].flag, OPTIONS[option].variable
    by_flag, by_variable = run("serve", flag, value), run("serve", cwd=None, **{variable: value})
    assert (by_flag.returncode, by_variable.returncode) == (2, 2)
    assert by_flag.stderr.startswith(f"roomcast: {flag} must be ")
    assert by_variable.stderr.startswith(f"roomcast: {variable} must be ")
    for said in (by_flag.stderr, by_variable.stderr):
        assert words in said
        assert said.count("\n") == 1


def test_sizes_and_times_take_units_in_flags_and_variables(serve: Serve) -> None:
    server = serve("--max-bytes=64KiB", "--max-body=1kB", "--slow-after=500ms", env={"ROOMCAST_HEARTBEAT": "1m"})
    assert "0 of 65536 bytes" in server.said()
    assert server.post({"room": "developers", "text": "x" * 900}).status_code == 201
    assert server.post({"room": "developers", "text": "x" * 1100}).status_code == 413


@pytest.mark.parametrize(
    ("options", "variable", "allowed"),
    [
        ([], None, None),
        (["--open"], None, "*"),
        (["--open"], "", None),
        ([], "https://a.example https://b.example", "https://b.example"),
        (["--allow-origin="], "https://b.example", None),
        (["--allow-origin=https://a.example", "--allow-origin=https://b.example"], "", "https://b.example"),
    ],
)
def test_no_origin_is_allowed_where_an_empty_list_is_given(
    serve: Serve, options: list[str], variable: str | None, allowed: str | None
) -> None:
    server = serve(*options, env={} if variable is None else {"ROOMCAST_ALLOW_ORIGIN": variable})
    answer = server.get("/healthz", headers={"Origin": "https://b.example"})
    assert answer.headers.get("access-control-allow-origin") == allowed


def test_a_hangup_reads_the_file_again_and_never_ends_the_server(serve: Serve, tmp_path: Path) -> None:
    config = tmp_path / "roomcast.toml"
    config.write_text("heartbeat = 5\n")
    server = serve("--config=roomcast.toml")
    with Observer(server.port, "/messages?room=developers") as follower:
        follower.until_live()
        config.write_text("heartbeat = 6\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_until_it_says(
            r"read again: roomcast\.toml, rights, the room rules; to change heartbeat, restart the server$"
        )
        config.write_text("heartbeat = 6\nhartbeat = 6\n")
        server.process.send_signal(signal.SIGHUP)
        server.wait_until_it_says(r"the configuration stays as it was: roomcast\.toml, line 2: 'hartbeat'")
        config.unlink()
        server.process.send_signal(signal.SIGHUP)
        server.wait_until_it_says(r"the configuration stays as it was: --config roomcast\.toml cannot be read")
        server.publish("still here")
        assert follower.texts(1) == ["still here"]
    assert server.terminate() == 0


def test_a_hangup_while_it_drains_does_not_end_it(serve: Serve) -> None:
    server = serve()
    with socket.create_connection(("127.0.0.1", server.port)) as half:
        half.sendall(
            b"POST /messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 9\r\n\r\n{"
        )
        wait_for(lambda: server.get("/readyz").status_code == 200, "an answer")
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: _closed(server.port), "the listener's end")
        server.process.send_signal(signal.SIGHUP)
        assert server.process.wait(PATIENCE) == 0


def test_unknown_variables_are_named_except_those_of_kubernetes(serve: Serve) -> None:
    env = {
        "ROOMCAST_MAX_MESSAGE_COUNT": "7",
        "ROOMCAST_TEST_ANYTHING": "1",
        "ROOMCAST_SERVICE_HOST": "10.0.0.1",
        "ROOMCAST_SERVICE_PORT_HTTP": "80",
        "ROOMCAST_PORT": "tcp://10.0.0.1:8080",
        "ROOMCAST_PORT_8080_TCP": "tcp://10.0.0.1:8080",
    }
    said = serve(env=env).said()
    assert re.findall(r"ROOMCAST_\w+", said.split("roomcast 0")[0]) == ["ROOMCAST_MAX_MESSAGE_COUNT"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_with_0(serve: Serve, number: int) -> None:
    server = serve("--log=sqlite:test.db")
    server.publish("kept")
    server.process.send_signal(number)
    assert server.process.wait(PATIENCE) == 0
    assert "Traceback" not in server.said()
    again = serve("--log=sqlite:test.db")
    assert [m["text"] for m in again.get("/messages?room=developers", headers=JSON).json()["messages"]] == ["kept"]


_SIGNALLED = """
import os, sys
number, module, *arguments = sys.argv[1:]

class Signalled:
    def find_spec(self, name, *_):
        if name == module:
            os.kill(os.getpid(), int(number))

sys.meta_path.insert(0, Signalled())
from roomcast.cli.main import main
main(arguments)
"""
"""The program gets a signal when it begins to import a module."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("module", ["roomcast.serve.run", "uvloop", "roomcast.log.sqlite.log"])
def test_a_signal_during_the_start_ends_it(tmp_path: Path, number: int, module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SIGNALLED, str(number), module, "serve", "--port=0", "--page-port=0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    "module", ["roomcast.serve.configuration", "roomcast.serve.run", "roomcast.log.sqlite.log"]
)
def test_a_hangup_during_the_start_does_not_end_it(tmp_path: Path, module: str) -> None:
    command = [sys.executable, "-c", _SIGNALLED, str(int(signal.SIGHUP)), module]
    server = Running([*command, "serve", "--port=0", "--page-port=0"], tmp_path)
    try:
        server.wait_until_it_says("^  log ")
    finally:
        server.kill()


def test_a_second_signal_ends_at_once(serve: Serve) -> None:
    """The drain waits for an answer that its client does not take; the second signal ends the wait."""
    server = serve("--max-bytes=30MB")
    for _ in range(20):
        server.post([{"room": "large", "text": "x" * 60_000}] * 15)
    with connect(server.port, receive_buffer=4096) as lazy:
        lazy.sendall(request("GET", "/messages?room=large&limit=1000", "Accept: application/json"))
        assert lazy.recv(1)
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: _closed(server.port), "the listener's end")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE) == 128 + signal.SIGTERM


def _closed(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False


def test_the_access_log_is_for_people_or_as_json(serve: Serve) -> None:
    text = serve()
    text.get("/healthz")
    text.wait_until_it_says(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z 127\.0\.0\.1 GET /healthz 200 \d+\.\d ms$")
    text.kill()
    lines = serve("--log-format=json", "--log=memory:")
    lines.get("/healthz?x=1")
    lines.wait_until_it_says(r"healthz")
    row = json.loads(next(line for line in lines.said().splitlines() if "healthz" in line))
    assert (row["method"], row["target"], row["status"], row["level"]) == ("GET", "/healthz?x=1", 200, "info")
    silent = serve("--no-access-log", "--log=memory:")
    silent.get("/healthz")
    assert silent.terminate() == 0
    assert "healthz" not in silent.said()


def test_output_that_nobody_reads_does_not_block_the_server(tmp_path: Path) -> None:
    read, write = os.pipe()
    with subprocess.Popen(
        [*ROOMCAST, "serve", "--port=0", "--page-port=0", "--log=memory:"], stderr=write, cwd=tmp_path
    ) as process:
        os.close(write)
        try:
            banner = b""
            while b"  log " not in banner:
                assert select.select([read], [], [], PATIENCE)[0], banner
                banner += os.read(read, 4096)
            port = int(re.findall(rb"follow +http://localhost:(\d+)/", banner)[0])
            with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
                for _ in range(40):  # 40 x 50 lines of some 1,000 bytes: far more than a pipe holds
                    request = b"GET /healthz?%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"x" * 1000)
                    client.sendall(request)
                    answer = b""
                    while b'"ok"' not in answer:
                        answer += client.recv(65536)
                    for _ in range(49):
                        client.sendall(request)
                        while b'"ok"' not in (answer := client.recv(65536)):
                            pass
        finally:
            process.kill()
            os.close(read)


JSON = {"Accept": "application/json"}
