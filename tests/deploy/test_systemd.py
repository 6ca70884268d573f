"""The units for systemd, and docs/howto/systemd.md."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import require
from tests.deploy.engine import Engine, Image, missing
from tests.running import PATIENCE, Running, wait_for

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy/systemd/roomcast.service"
SOCKET = ROOT / "deploy/systemd/roomcast.socket"
PAGE = (ROOT / "docs/howto/systemd.md").read_text()
INSTALL, CONFIGURE, START, ASK, OPEN_PORT = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def analyze(*words: str) -> str:
    done = subprocess.run(
        [require("systemd-analyze"), "--no-pager", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def setting(name: str) -> str:
    [value] = re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    return str(value)


def test_systemd_accepts_the_units_without_a_warning(tmp_path: Path) -> None:
    program = setting("ExecStart").split()[0]
    (tmp_path / UNIT.name).write_text(UNIT.read_text().replace(program, sys.executable))
    (tmp_path / SOCKET.name).write_text(SOCKET.read_text())
    assert analyze("verify", str(tmp_path / UNIT.name), str(tmp_path / SOCKET.name)) == ""


def test_the_units_exposure_is_the_one_in_the_docs() -> None:
    said = analyze("security", "--offline=true", "--threshold=13", str(UNIT))
    [exposure] = re.findall(r"exposure level for roomcast.service: (\S+)", said)
    assert f"gives it {exposure} of 10" in PAGE


def test_the_server_makes_no_system_call_that_the_unit_forbids(tmp_path: Path) -> None:
    """From start to end, with a publish, a page of history and a reload."""
    tracer = [require("strace"), "-f", "-qq", "-o", str(tmp_path / "calls"), "-e", "signal=none"]
    command = [sys.executable, "-m", "roomcast", "serve", "--port=0", "--page-port=0", "--log=sqlite:x.db"]
    server = Running([*tracer, *command], tmp_path)
    try:
        server.port = int(server.wait_until_it_says(r"follow +http://\S+?:(\d+)/")[1])
        server.publish("hello")
        assert server.get("/messages?room=developers", headers={"accept": "application/json"}).status_code == 200
        [child] = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        os.kill(int(child), 1)
        server.wait_until_it_says("read again: rights")
        os.kill(int(child), 15)
        assert server.process.wait(PATIENCE) == 0
    finally:
        server.kill()
    called = set(re.findall(r"^\d+ +(\w+)\(", (tmp_path / "calls").read_text(), re.MULTILINE))
    assert "openat" in called
    called.discard("fchown")  # SQLite calls it only as root
    assert called - allowed() == set()


def allowed() -> set[str]:
    """The system calls that the unit's filters allow."""
    calls: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE):
        names = set().union(*(members(word) for word in line.lstrip("~").split()))
        calls = calls - names if line.startswith("~") else calls | names
    return calls


def members(group: str) -> set[str]:
    found: set[str] = set()
    for word in re.findall(r"^    (@?[\w-]+)$", analyze("syscall-filter", group), re.MULTILINE):
        found |= members(word) if word.startswith("@") else {word}
    # Always allowed, whatever a filter says (systemd.exec(5)).
    return found | (members("@default") if group == "@system-service" else set())


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Engine, Image]]:
    """This machine's files under a writable layer, in which `systemctl` does nothing."""
    if why := missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    engine = Engine(tmp_path_factory.mktemp("machine"))
    image = engine.build_from("FROM this-machine\n", ROOT)
    engine.shell(
        f"cp -a {ROOT}/requirements {ROOT}/deploy {ROOT}/src {ROOT}/pyproject.toml {ROOT}/README.md {ROOT}/LICENSE"
        f" {image.root}/root && printf '#!/bin/sh\\necho \"$@\" >> /systemctl\\n' > {image.root}/usr/bin/systemctl"
    )
    yield engine, image
    engine.close()


def test_the_commands_of_the_page_end_with_a_server_that_is_ready(
    machine: tuple[Engine, Image], tmp_path: Path
) -> None:
    """The test does systemd's part: the folders, the user, the command and the socket that the unit names."""
    engine, image = machine
    image.folder = "/root"
    for script in (INSTALL, CONFIGURE, START):
        engine.do(image, script)
    assert engine.shell(f"cat {image.root}/systemctl").split() == ["daemon-reload", "enable", "--now", "roomcast"]
    engine.do(image, OPEN_PORT)
    assert engine.shell(f"cat {image.root}/etc/systemd/system/roomcast.socket") == SOCKET.read_text()
    user = engine.do(image, f"id -u {setting('User')}; id -g {setting('Group')}").split()
    state = f"/var/lib/{setting('StateDirectory')}"
    engine.do(image, f"install -d -o {user[0]} -m {setting('StateDirectoryMode')} {state}")
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    supervisor = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    supervisor.bind(str(tmp_path / "notify"))
    (tmp_path / "notify").chmod(0o777)
    supervisor.settimeout(PATIENCE)
    engine.shell(f"mkdir -p {image.root}/run/systemd && mount --bind {tmp_path} {image.root}/run/systemd")
    image.user, image.folder = ":".join(user), setting("WorkingDirectory")
    command = shlex.split(setting("ExecStart"))
    server = Running(engine.run(image, command, {"NOTIFY_SOCKET": "/run/systemd/notify"}), tmp_path)
    try:
        wait_for(lambda: server.process.poll() is None, "the server")
        assert supervisor.recv(100) == b"READY=1"
        image.user, image.folder = "0:0", "/root"
        assert '"text":"Backup done"' in engine.do(image, ASK, net=True)
        assert server.terminate() == 0
    finally:
        server.kill()
        supervisor.close()
